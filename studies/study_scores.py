"""Graded answers: is the model picked for a prompt right more often than the best single one?

    python studies/study_scores.py DATA/seven_models DATA/routerbench

A score per model and prompt, trained on a set's scores.train, reported on scores.validation, where
the epoch was chosen too. Against each model's mean score in training (cross-entropy, Brier), and as
a router without prices: the mean score of what is picked per prompt, of the best single model (by
its training mean) and of the best per prompt (oracle). Intervals resample prompts; ratios are of
resampled means. Features are kept in the folder of --work.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from p2l_model.fitting.config import TrainConfig, TrunkConfig
from p2l_model.fitting.graded_scores import unit_scores
from p2l_model.training.prepare import prepare
from p2l_model.training.train import choose
from p2l_model.types import FloatArray

N_RESAMPLES = 2000


def quiet(stage: str, done: float, total: float, note: str = "") -> None:
    """No progress: a line per result is enough."""


def bootstrap(statistic: Any, columns: FloatArray) -> tuple[float, float, float]:
    """A function of the column means (P, C): at the means, and its 95% interval over prompts."""
    n = columns.shape[0]
    chance = np.random.default_rng(0)
    means = chance.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES) @ columns / n
    low, high = np.quantile([statistic(row) for row in means], [0.025, 0.975])
    return float(statistic(columns.mean(axis=0))), float(low), float(high)


def entropy(truth: FloatArray, predicted: FloatArray) -> FloatArray:
    """(P, M) -> (P,): mean over a prompt's models of the cross-entropy."""
    p = np.clip(predicted, 1e-6, 1 - 1e-6)
    loss: FloatArray = -(truth * np.log(p) + (1 - truth) * np.log1p(-p))
    return np.nanmean(loss, axis=1)


def study(folder: Path, work: Path, config: TrainConfig) -> None:
    """One set."""
    paths = [[folder / f"scores.{part}.parquet"] for part in ("train", "validation")]
    data = prepare(config, *paths, work, quiet, (0.0, 1.0))
    heads = choose(config, data, work, quiet).heads
    scores, held = unit_scores(data.split.train), unit_scores(data.split.validation)
    predicted = heads.expected_scores(data.x_validation)
    if predicted is None:
        raise SystemExit("the trunk has no score head: score_weight must be above 0")
    means = np.nanmean(scores, axis=0)
    used = ~np.isnan(held).all(axis=1)
    ours = entropy(held[used], predicted[used])
    flat = entropy(held[used], np.tile(means, (int(used.sum()), 1)))
    print(f"{folder.name}: {int(used.sum())} prompts, {held.shape[1]} models")
    show("cross-entropy, P2L", lambda m: m[0], np.column_stack([ours, flat]))
    show("cross-entropy, model's mean", lambda m: m[1], np.column_stack([ours, flat]))
    show("difference", lambda m: m[0] - m[1], np.column_stack([ours, flat]))
    whole = ~np.isnan(held).any(axis=1)
    truth, chosen = held[whole], predicted[whole].argmax(axis=1)
    rows = np.arange(truth.shape[0])
    single = truth[:, int(means.argmax())]
    columns = np.column_stack([truth[rows, chosen], single, truth.max(axis=1)])
    show("picked", lambda m: m[0], columns)
    show("best single", lambda m: m[1], columns)
    show("oracle", lambda m: m[2], columns)
    show("picked - best single", lambda m: m[0] - m[1], columns)
    show("share of the gap to the oracle", lambda m: (m[0] - m[1]) / (m[2] - m[1]), columns)


def show(name: str, statistic: Any, columns: FloatArray) -> None:
    """A line: the figure and its interval."""
    value, low, high = bootstrap(statistic, columns)
    print(f"  {name:32} {value:+.4f} [{low:+.4f}, {high:+.4f}]", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, default=Path("runs/scores"))
    parser.add_argument("--members", type=int, default=6)
    args = parser.parse_args()
    trunk = TrunkConfig(members=args.members, batch_prompts=64, score_weight=1.0)
    config = TrainConfig(feature_layers=[2, 4], pooling="mean-max", balance=0.0, trunk=trunk)
    for folder in args.data:
        study(folder, args.work / folder.name, config)


if __name__ == "__main__":
    main()
