"""Does the aggregated leaderboard of a category agree with the votes of that category?

    python studies/study_agreement.py --set zeroeval --checkpoint bundled \
        --data DATA/zeroeval --out runs/agreement

The checkpoint must have been trained on train parts alone. Truth: the marginal leaderboard fitted
on the validation votes of the category; ours: n of its validation prompts, drawn, aggregated, votes
unseen. Against it: the leaderboard of all training votes, which knows no categories (what one has
without reading prompts), and the truth's own other half (votes on a random half of the prompts
against the other half), which says how noisy the truth is. Kendall's tau, Spearman's rho, and the
mean squared difference of coefficients after taking both means away, over models with votes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from p2l_model.analysis.scored import PromptReader
from p2l_model.analysis.soft_fit import fit_sums
from p2l_model.analysis.sums import BlockSums
from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.data.files import VoteTable, load_votes
from p2l_model.fitting.linear import FitOptions, Prior, fit_heads
from p2l_model.types import FloatArray, IntArray, PreferenceFamily
from server.commands.datasets import data_files

SIZES = (1, 2, 5, 10, 20, 50, 100)
N_DRAWS, N_HALVES = 30, 10
# A model that won everything in a small category has no finite maximum: a wide prior, in log-odds.
PRIOR_DEVIATION = 2.0
MEASURES = ("kendall", "spearman", "mse")


class Category:
    """One category's validation votes and what the checkpoint says of its prompts."""

    def __init__(
        self, name: str, votes: VoteTable, outputs: HeadOutputs, family: PreferenceFamily
    ) -> None:
        self.name, self.votes, self._outputs, self._family = name, votes, outputs, family
        self.prompts = np.unique(votes.prompt)
        self.models = np.unique(np.concatenate([votes.model_a, votes.model_b]))
        self.truth = self.fitted(self.prompts)

    def fitted(self, prompts: IntArray) -> FloatArray:
        """(M,) the marginal leaderboard of the votes on these prompts."""
        votes = self.votes.where(np.isin(self.votes.prompt, prompts))
        votes = replace(votes, prompt=np.zeros_like(votes.prompt))
        centre = np.zeros(len(votes.models) + 2)
        prior = Prior(centre, 1 / (2 * PRIOR_DEVIATION**2 * float(votes.weight.sum())))
        return fit_heads(np.zeros((1, 0)), votes, FitOptions(self._family, 0.0, 0.0), prior).bias

    def aggregated(self, prompts: IntArray) -> FloatArray:
        """(M,) without any vote."""
        sums = BlockSums(self._family, self._outputs.coefficients.shape[1])
        sums.add(self._outputs.rows(prompts), np.ones(prompts.size), np.zeros_like(prompts))
        return fit_sums(self._family, sums.total()).coefficients

    def agreement(self, coefficients: FloatArray, truth: FloatArray | None = None) -> FloatArray:
        """(3,) the MEASURES."""
        ours = coefficients[self.models]
        theirs = (self.truth if truth is None else truth)[self.models]
        apart = (ours - ours.mean()) - (theirs - theirs.mean())
        rho = spearmanr(ours, theirs).statistic
        return np.array([kendalltau(ours, theirs).statistic, rho, float((apart**2).mean())])


def measure(category: Category, training: FloatArray, seed: int) -> dict[str, Any]:
    """By number of prompts; the interval is over draws of the prompts."""
    chance = np.random.default_rng(seed)
    sizes = [n for n in SIZES if n < category.prompts.size] + [category.prompts.size]
    curve = {}
    for n in sizes:
        draws = [chance.permutation(category.prompts)[:n] for _ in range(N_DRAWS)]
        draws = draws[:1] if n == category.prompts.size else draws
        curve[n] = [category.agreement(category.aggregated(np.sort(d))).tolist() for d in draws]
    halves = []
    for _ in range(N_HALVES):
        mixed = chance.permutation(category.prompts)
        first, second = (category.fitted(half) for half in np.array_split(mixed, 2))
        halves.append(category.agreement(first, second).tolist())
    gap = category.aggregated(category.prompts) - category.truth
    return {
        "n_prompts": int(category.prompts.size),
        "n_models": int(category.models.size),
        "curve": curve,
        "training_marginal": category.agreement(training).tolist(),
        "half_against_half": np.mean(halves, axis=0).tolist(),
        "whole_gap": float(gap[category.models].mean()),
    }


def over_categories(categories: Sequence[Category], models: Sequence[str]) -> dict[str, Any]:
    """Across categories, for each model: does its coefficient rise and fall with the truth?"""
    found = {}
    for index in range(len(models)):
        mine = [c for c in categories if index in c.models]
        ours = [c.aggregated(c.prompts)[index] for c in mine]
        truth = [c.truth[index] for c in mine]
        if len(mine) >= 10:
            found[models[index]] = spearmanr(ours, truth).statistic
    return found


def draw(results: Mapping[str, Any], title: str, path: Path) -> None:
    """One panel per measure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for column, (axes, name) in enumerate(zip(figure.subplots(1, 3), MEASURES, strict=True)):
        for colour, (category, found) in enumerate(results.items()):
            sizes = list(found["curve"])
            values = [np.array(found["curve"][n])[:, column] for n in sizes]
            middle = [np.mean(v) for v in values]
            low, high = np.transpose([np.quantile(v, [0.1, 0.9]) for v in values])
            label = f"{category} ({found['n_prompts']})"
            axes.plot(sizes, middle, "o-", color=f"C{colour}", markersize=3, label=label)
            axes.fill_between(sizes, low, high, color=f"C{colour}", alpha=0.15)
            axes.axhline(found["training_marginal"][column], color=f"C{colour}", linestyle=":")
        axes.set(xscale="log", xlabel="prompts aggregated", title=name)
    figure.axes[0].legend(fontsize=8)
    figure.suptitle(f"{title}: aggregated against the category's own votes "
                    "(dotted: one leaderboard for all, from training)", fontsize=10)  # fmt: skip
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", required=True)
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/agreement"))
    parser.add_argument("--fewest", type=int, default=10, help="prompts of a category")
    args = parser.parse_args()
    reader = PromptReader.load(args.checkpoint)
    votes = load_votes(data_files([args.data], "validation")).among(reader.models)
    outputs = reader.outputs(reader.features(votes.conversations))
    names = [str(name) for name in np.unique(votes.category)]
    categories = [
        Category(name, votes.where(votes.category == name), outputs, reader.family)
        for name in names
    ]
    categories = [c for c in categories if c.prompts.size >= args.fewest]
    args.out.mkdir(parents=True, exist_ok=True)
    if all(c.models.size > 5 for c in categories):
        # the training votes of this very set: the bundled checkpoint's marginal mixes five sets
        train = load_votes(data_files([args.data], "train")).among(reader.models)
        whole = Category("all", train, outputs, reader.family)
        results = {c.name: measure(c, whole.truth, 0) for c in categories}
        report(results)
        draw(results, args.set, args.out / f"agreement-{args.set}.png")
    else:
        results = over_categories(categories, reader.models)
        print(f"{len(categories)} categories, Spearman over them: {results}")
    (args.out / f"agreement-{args.set}.json").write_text(json.dumps(results, indent=1))


def report(results: Mapping[str, Any]) -> None:
    """Lines of a table, and the mean over categories."""
    for name, found in results.items():
        for n, draws in found["curve"].items():
            row = " ".join(f"{v:.3f}" for v in np.mean(draws, axis=0))
            print(f"{name:16} n={n:<4} {row}")
        for other in ("training_marginal", "half_against_half"):
            row = " ".join(f"{v:.3f}" for v in found[other])
            print(f"{name:16} {other:20} {row}")
        print(f"{name:16} level less truth's {found['whole_gap']:+.3f}, {found['n_models']} models")


if __name__ == "__main__":
    main()
