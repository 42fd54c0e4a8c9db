"""How well do public facts place a model? By cross-validation, and on graded answers never used.

    python studies/study_placement.py --results DIR/public_results/results.parquet \
        [--scores DIR/ctala_es/scores.train.parquet ...]

First, of the models with published results each tenth (or each family with at least five models) is
left out in turn, with all its efforts; the others place it. Compared: what the facts may count
(fitted again for each). Truth is what the model's own results say, with their noise. Second, with
--scores: Spearman's correlation of the places with the mean scores of a set, over models with at
least ten prompts.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from p2l_model.data.tables import read_columns
from p2l_model.placement import build, process
from p2l_model.placement.features import features
from p2l_model.placement.kernel import PARTS, Item
from p2l_model.placement.place import bundled_placer
from p2l_model.placement.table import bundled
from p2l_model.types import FloatArray

METHODS: Mapping[str, Sequence[str]] = {
    "the mean of all": ("level", "own"),
    "price": ("level", "price", "priced", "own"),
    "date": ("level", "trend", "own"),
    "ridge on all facts": ("level", "trend", "family", "tier", "size", "price", "priced", "effort",
                           "own"),
    "as shipped": PARTS,
}  # fmt: skip
FOLDS, LEAST_FAMILY, WIDTH = 10, 5, 1.2816
LEAST_PROMPTS = 10


def folds(items: Sequence[Item], by: str) -> Iterator[NDArray[np.bool_]]:
    """Which items (N,) are left out, fold by fold."""
    groups = [features(item.model).family if by == "family" else item.model for item in items]
    if by == "family":
        for family in sorted(set(groups)):
            out = np.array([group == family for group in groups])
            if (
                len({item.model for item, left in zip(items, out, strict=True) if left})
                >= LEAST_FAMILY
            ):
                yield out
        return
    models = sorted(set(groups))
    chance = np.random.default_rng(0).permutation(len(models))
    fold_of = {model: chance[i] % FOLDS for i, model in enumerate(models)}
    for fold in range(FOLDS):
        yield np.array([fold_of[group] == fold for group in groups])


def judge(
    items: Sequence[Item], alone: FloatArray, scales: Mapping[str, float], by: str
) -> tuple[float, float, float, int]:
    """The share of variance explained, the root mean squared error, and the share of truths in the
    80% interval, with the number of columns. alone (N, 2): what each item's own results say."""
    errors, inside = [], []
    for out in folds(items, by):
        known = [item for item, left in zip(items, out, strict=True) if not left]
        strengths = process.Strengths(known, alone[~out, 0], alone[~out, 1], scales)
        mean, covariance = strengths.of([i for i, left in zip(items, out, strict=True) if left])
        error = alone[out, 0] - mean
        errors += list(zip(error, alone[out, 0], strict=True))
        spread = np.sqrt(np.diag(covariance) + alone[out, 1])
        inside += list(np.abs(error) <= WIDTH * spread)
    found = np.array(errors)
    rmse = float(np.sqrt((found[:, 0] ** 2).mean()))
    return 1 - rmse**2 / float(found[:, 1].var()), rmse, float(np.mean(inside)), len(found)


def cross_validate(results: Path) -> None:
    """Prints the table of methods."""
    kept = build.kept_results(build.read_results(results))
    rows = bundled().rows
    keys = [key for key, row in rows.items() if row.alone is not None]
    items = [rows[key].item for key in keys]
    observed = build.observations(kept, keys)
    print(
        "| facts | left out | R2 | RMSE | 80% interval holds | columns |\n|---|---|---|---|---|---|"
    )
    for method, using in METHODS.items():
        fitted = bundled().fitted if using is PARTS else process.fit(items, observed, using)
        pairs = process.combined(observed, fitted)
        alone = np.array([pairs[i] for i in range(len(keys))])
        for by in ("model", "family"):
            r2, rmse, inside, n = judge(items, alone, fitted.scales, by)
            print(f"| {method} | {by} | {r2:.2f} | {rmse:.2f} | {inside:.2f} | {n} |", flush=True)


def order(path: Path) -> str:
    """A row of the table of orders: of all models of a set, and of those with published results."""
    columns = read_columns(path)
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    rows = zip(columns["model"], columns["prompt_id"], columns["score"], strict=True)
    for model, prompt, score in rows:
        if score is not None:
            scores[model][prompt] = float(score)
    names = [name for name, of_model in scores.items() if len(of_model) >= LEAST_PROMPTS]
    places = [bundled_placer().place(name) for name in names]
    truth = np.array([np.mean(list(scores[name].values())) for name in names])
    means = np.array([place.mean for place in places])
    public = np.array([place.n_of_model > 0 for place in places])
    every = float(spearmanr(means, truth)[0])
    facts = float(spearmanr(means[public], truth[public])[0]) if public.sum() > 2 else float("nan")
    return (
        f"| {path.parent.name} | {every:.2f} | {len(names)} | {facts:.2f} | {int(public.sum())} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--scores", type=Path, nargs="*", default=[])
    asked = parser.parse_args()
    print("| set | all models | n | with published results | n |\n|---|---|---|---|---|")
    for path in asked.scores:
        print(order(path), flush=True)
    cross_validate(asked.results)


if __name__ == "__main__":
    main()
