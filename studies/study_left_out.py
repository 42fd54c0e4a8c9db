"""Does the checkpoint help on a source that it was not trained on? Each graded source is left out
in turn, the trunk is trained on the others, and every graded answer of the source is predicted.

    python studies/study_left_out.py --data DATA --work FOLDER [--epochs 8] [--only scale_sql ...]

Both sides are told the source's own leave-one-out means (each model's mean over all other prompts).
The checkpoint adds to their logits how much more difficult than usual it finds the prompt, and how
far it expects each model to be from that. "all": both as they are. "trusted": each times a factor,
the pair that is best for the other sources when those are left out, so that nothing is chosen on
what is reported. "best": the pair that is best in hindsight. The local layer gets the same
checkpoint and N answers of one half of the prompts, and predicts the other (`evaluate --local`).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.evaluation.local import GradedRows, cross_entropy, evaluate_local
from p2l_model.evaluation.metrics import prompt_bootstrap
from p2l_model.fitting.config import TrainConfig, load_train_config
from p2l_model.fitting.graded_scores import unit_scores
from p2l_model.local.terms import TermReader, columns_of
from p2l_model.placement.place import bundled_placer
from p2l_model.training.prepare import Prepared, fit_marginal, prepare
from p2l_model.training.train import choose
from p2l_model.types import FloatArray

COMPARED = ("arena_bench_v1", "pandalm")
GRADED = ("zeroeval", "judge_rewards", "mmlu_pair", "ctala_es", "scale_sql", "reasoning_gym")
FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_PROMPTS = 300
SEEDS = 2


def quiet(stage: str, done: float, total: float, note: str = "") -> None:
    """No progress: a line per result is enough."""


@dataclass(frozen=True, slots=True)
class Held:
    """A source's graded answers (N,): the logit of the leave-one-out mean, the checkpoint's two
    parts, and the score."""

    prompt: FloatArray
    logit: FloatArray
    common: FloatArray
    own: FloatArray
    score: FloatArray

    def loss(self, common: float, own: float) -> FloatArray:
        """Cross-entropy per answer (N,)."""
        z = self.logit + common * self.common + own * self.own
        return cross_entropy(self.score, 1 / (1 + np.exp(-z)))

    def apart(self, pair: tuple[float, float]) -> FloatArray:
        """The difference per answer (N,) to the means alone."""
        return self.loss(*pair) - self.loss(0.0, 0.0)


def held(scores: FloatArray, heads: Heads, features: FloatArray) -> Held:
    """scores (P, M): of the source alone."""
    known = ~np.isnan(scores)
    rows, columns = np.nonzero(known)
    total, count = np.nansum(scores, axis=0), known.sum(axis=0)
    own = scores[rows, columns]
    mean = (total[columns] - own + 0.5) / count[columns]
    weight, bias = heads.score_weight, heads.score_bias
    assert weight is not None
    assert bias is not None
    z = heads.hidden(features) @ weight.T + bias
    z -= np.where(known, z, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    level = np.where(known, z, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    apart = z[rows, columns] - level[rows]
    return Held(rows.astype(float), np.log(mean / (1 - mean)), level[rows], apart, own)


def local_lines(
    heads: Heads,
    marginal: Heads,
    votes: VoteTable,
    scores: FloatArray,
    features: FloatArray,
    answers: Sequence[int],
) -> str:
    """What the local layer reaches with few answers, beside full means and means of as many."""
    chosen = np.flatnonzero((~np.isnan(scores)).any(axis=1))
    chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:MOST_PROMPTS])
    rows, columns = np.nonzero(~np.isnan(scores[chosen]))
    asked = np.unique(columns)
    names = tuple(votes.models[at] for at in asked)
    said = tuple(votes.conversations[at] for at in chosen)
    own = scores[chosen[rows], columns]
    graded = GradedRows(said, names, rows, np.searchsorted(asked, columns), own, ())
    reader = TermReader(marginal.bias, columns_of(names, votes.models))
    terms = [reader.read(line) for line in heads.outputs(features[chosen], 1.0).coefficients]
    found = []
    for n in answers:
        report = evaluate_local(graded, terms, bundled_placer(), n, SEEDS)
        low, high = report["delta_ci95"]
        found.append(
            f"local {n}: {report['delta']:+.4f} [{low:+.4f}, {high:+.4f}], against means of the "
            f"same {n} {report['delta_same_n']:+.4f}"
        )
    return "; ".join(found)


def without(data: Prepared, config: TrainConfig, source: str, work: Path) -> tuple[Heads, Heads]:
    """The heads and one leaderboard for all prompts, trained on the other sources."""
    votes = data.split.train
    fold = replace(data.split, train=votes.where(~of_source(votes, source)))
    marginal = fit_marginal(config, fold.train, work)
    return choose(config, replace(data, split=fold, marginal=marginal), work, quiet).heads, marginal


def of_source(votes: VoteTable, source: str) -> np.ndarray:
    """Which votes (N,) come from a set: a source's name begins as the set's, or by its origin."""
    origin = {
        "ctala_es": "ctala/",
        "scale_sql": "actiontech/",
        "reasoning_gym": "reasoning-gym",
    }
    return np.char.startswith(votes.source, origin.get(source, source))


def trusted(found: dict[str, Held], source: str) -> tuple[float, float]:
    """The factors that are best for the other sources, each of which counts alike."""

    def cost(pair: tuple[float, float]) -> float:
        return sum(float(one.apart(pair).mean()) for name, one in found.items() if name != source)

    return min(itertools.product(FACTORS, FACTORS), key=cost)


def shown(pair: tuple[float, float], one: Held) -> str:
    """The mean difference with its interval over prompts."""
    apart = one.apart(pair)
    low, high = prompt_bootstrap(apart, np.ones(apart.size), one.prompt.astype(int), seed=0)
    return f"{apart.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """One line per source and part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path("deploy/training/default.yaml"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=list(GRADED))
    parser.add_argument("--answers", type=int, nargs="*", default=[50, 200], help="of local layers")
    args = parser.parse_args(arguments)
    config = load_train_config(args.config, {})
    assert config.trunk is not None
    # the teacher has seen the source
    trunk = config.trunk.model_copy(update={"epochs": args.epochs, "teacher": None})
    config = config.model_copy(update={"trunk": trunk})
    files = [
        [args.data / name / f"comparisons.{part}.parquet" for name in COMPARED]
        + [args.data / name / f"scores.{part}.parquet" for name in GRADED]
        for part in ("train", "validation")
    ]
    data = prepare(config, files[0], files[1], args.work, quiet, (0.0, 1.0))
    votes = data.split.train
    found: dict[str, Held] = {}
    for source in args.only:
        heads, marginal = without(data, config, source, args.work)
        scores = unit_scores(votes.where(of_source(votes, source)))
        found[source] = held(scores, heads, data.x_train)
        print(f"{source}: all {shown((1.0, 1.0), found[source])}", flush=True)
        if args.answers:
            lines = local_lines(heads, marginal, votes, scores, data.x_train, args.answers)
            print(f"  {lines}", flush=True)
    for source, one in found.items():
        best = min(itertools.product(FACTORS, FACTORS), key=lambda pair: one.apart(pair).mean())
        pair = trusted(found, source)
        print(
            f"{source}: trusted {pair} {shown(pair, one)}; best {best} {shown(best, one)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
