"""Is the router above the best random mix of single models on prompts it has not seen? Over a whole
train part, which is several times a validation part: three folds, each predicted by the other two.

    python studies/study_money.py DATA/zeroeval [--prices prices.csv]

Nothing is chosen on what is reported: epochs and calibration are chosen on a tenth of the prompts,
which is in no fold; the configuration is deploy/training/scores.yaml. Costs are the gateway's,
prices and predicted lengths, where there are prices; else learnt from the costs of the other folds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from p2l_model.fitting.answer_lengths import enough, log_lengths, refit_lengths
from p2l_model.fitting.config import TrainConfig, load_train_config
from p2l_model.fitting.graded_scores import unit_scores
from p2l_model.training.prepare import Prepared, prepare
from p2l_model.training.train import _scores, choose
from p2l_model.types import FloatArray
from server.offline.simulate.costs import ReadPrompts, learnt_costs
from server.offline.simulate.curves import (
    bootstrap_weights,
    curve_of,
    gain_over,
    interval,
    saving_of,
    single_models,
)
from server.offline.simulate.predict import Belief, category_values
from server.offline.simulate.table import ScoreTable, TokenPrices, load_prices, load_scores

N_FOLDS = 3
HIDDEN_REASONING = ("o1-mini-2024-09-12", "o1-preview-2024-09-12")


def quiet(stage: str, done: float, total: float, note: str = "") -> None:
    """No progress: a line per result is enough."""


def predictions(
    config: TrainConfig,
    data: Prepared,
    table: ScoreTable,
    asked: FloatArray,
    work: Path,
    prices: dict[str, TokenPrices],
) -> tuple[FloatArray, FloatArray]:
    """(value, cost) of the table's rows `asked`, by what is trained on all others."""
    conversations = data.split.train.conversations
    place = {conversation: k for k, conversation in enumerate(conversations)}
    rows = np.array([place[conversation] for conversation in table.conversations])
    held_out = np.isin(np.arange(len(conversations)), rows[asked])
    votes = data.split.train.where(~held_out[data.split.train.prompt])
    fold = replace(data, split=replace(data.split, train=votes))
    heads = choose(config, fold, work, quiet).heads
    scores = _scores(fold, heads)
    assert scores is not None
    columns = [list(votes.models).index(name) for name in table.models]
    value = scores.heads.expected_scores(data.x_train[rows[asked]])
    assert value is not None
    hidden = heads.hidden(data.x_train[rows])
    lengths = refit_lengths(data.x_train, enough(log_lengths(votes)), heads)
    if lengths is None or not prices:
        known = ReadPrompts(table.of_prompts(~asked, "asked"), hidden[~asked])
        return value[:, columns], learnt_costs(
            known, ReadPrompts(table.of_prompts(asked, "known"), hidden[asked])
        )
    mu = lengths.heads.log_tokens(data.x_train[rows[asked]])
    assert mu is not None
    spread = np.array([np.nan if s is None else s for s in lengths.sigma])
    tokens = np.exp(mu + spread**2 / 2)[:, columns]
    cost = [
        prices[name].cost_usd(table.input_tokens[asked], tokens[:, k])
        for k, name in enumerate(table.models)
    ]
    return value[:, columns], np.column_stack(cost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--prices", type=Path)
    parser.add_argument("--config", type=Path, default=Path("deploy/training/scores.yaml"))
    parser.add_argument("--work", type=Path, default=Path("runs/money"))
    args = parser.parse_args()
    config = load_train_config(args.config, {})
    path, work = args.data / "scores.train.parquet", args.work / args.data.name
    prices = {} if args.prices is None else load_prices(args.prices)
    data = prepare(config, [path], [], work, quiet, (0.0, 1.0))
    graded = ~np.isnan(unit_scores(data.split.train)).all(axis=1)
    ours = {c for c, g in zip(data.split.train.conversations, graded, strict=True) if g}
    table = load_scores([path], prices)
    names = [name for name in table.models if name not in HIDDEN_REASONING]
    table = table.of_models(names, "hidden reasoning").complete()
    table = table.of_prompts(np.array([c in ours for c in table.conversations]), "left out")
    fold = np.random.default_rng(0).integers(0, N_FOLDS, len(table.conversations))
    value, cost = np.empty_like(table.score), np.empty_like(table.score)
    category = np.empty_like(table.score)
    for k in range(N_FOLDS):
        asked = fold == k
        value[asked], cost[asked] = predictions(config, data, table, asked, work, prices)
        told = category_values(table.of_prompts(asked, "known"), table.of_prompts(~asked, "asked"))
        category[asked] = np.nan if told is None else told
    print(f"{args.data.name}: {len(table.conversations)} prompts, {len(table.models)} models")
    show("p2l", table, Belief(value, cost))
    show("told the category", table, Belief(category, cost))


def show(name: str, table: ScoreTable, belief: Belief) -> None:
    """A line: area above the best random mix and saving at the best single model's score."""
    curve, singles = curve_of(table, belief), single_models(table)
    flat = np.ones(len(table.conversations))
    best = int(np.argmax(singles.means(flat)[1]))
    weights = bootstrap_weights(flat.size, 0)
    area = interval(
        gain_over(curve, singles, flat), [gain_over(curve, singles, w) for w in weights]
    )
    saving = interval(
        saving_of(curve, singles, best, flat), [saving_of(curve, singles, best, w) for w in weights]
    )
    print(f"  {name:18} area {area.value:+.4f} [{area.low:+.4f}, {area.high:+.4f}]", end="")
    print(f"  saving {saving.value:.0%} [{saving.low:.0%}, {saving.high:.0%}]", flush=True)


if __name__ == "__main__":
    main()
