"""Checks whether probabilities are calibrated: the table behind the ECE, its diagram, and how often
each outcome happens compared with how often it was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.data.files import VoteTable
from p2l_model.data.soft_labels import target_matrix
from p2l_model.errors import ExtraMissingError
from p2l_model.evaluation.metrics import (
    N_BINS,
    Predictions,
    calibration_bins,
    outcome_log_probabilities,
)
from p2l_model.preference import outcomes
from p2l_model.types import FloatArray, IntArray, PreferenceFamily

_Z: Final = 1.959964  # the normal distribution's 97.5% quantile
_DPI: Final = 120
_LARGEST_DOT: Final = 180.0


def calibration_table(predictions: Predictions, votes: VoteTable) -> list[dict[str, Any]]:
    """The N_BINS equal-width bins of P(a beats b), on decisive votes: those of the ECE.

    Each has low, high, n and weight of its votes, mean_predicted, observed (the share that a won)
    and observed_ci95; the last three are None in an empty bin. The ECE is the mean of
    |mean_predicted - observed|, weighted by weight.
    """
    decisive = predictions.outcome_a != 0.5
    p, y = predictions.p_a[decisive], predictions.outcome_a[decisive]
    weight, prompt = votes.weight[decisive], votes.prompt[decisive]
    bins = calibration_bins(p)
    table = []
    for index in range(N_BINS):
        keep = bins == index
        edges = {"low": index / N_BINS, "high": (index + 1) / N_BINS}
        table.append(edges | _bin(p[keep], y[keep], weight[keep], prompt[keep]))
    return table


def outcome_table(
    family: PreferenceFamily, votes: VoteTable, outputs: HeadOutputs
) -> dict[str, dict[str, float]]:
    """For each outcome of the family: observed, its share of the votes by weight, and predicted,
    the mean probability.

    Outcomes that the family lacks count as in training (`target_matrix`). outputs: of the votes' P
    prompts. Empty where no vote has weight.
    """
    if not votes.weight.sum() > 0:
        return {}
    observed = np.average(target_matrix(family, votes), axis=0, weights=votes.weight)
    probabilities = np.exp(outcome_log_probabilities(family, votes, outputs))
    predicted = np.average(probabilities, axis=0, weights=votes.weight)
    return {
        outcome.value: {"observed": float(seen), "predicted": float(mean)}
        for outcome, seen, mean in zip(outcomes(family), observed, predicted, strict=True)
    }


def require_matplotlib() -> None:
    """Raises ExtraMissingError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError("matplotlib", "train") from error


def draw_reliability(table: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draws the reliability diagram of a `calibration_table` as a PNG: observed over predicted,
    with intervals and dots sized by weight. Raises ExtraMissingError without matplotlib."""
    require_matplotlib()
    # Not pyplot, which keeps figures and the choice of a display in global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=_DPI, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)  # partly untyped
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=title)
    axes.set_xlabel("predicted P(a beats b)")
    axes.set_ylabel("observed share that a won")
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    _draw_bins(axes, [row for row in table if row["observed"] is not None])
    canvas.print_png(path)


def _draw_bins(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    x = np.array([row["mean_predicted"] for row in rows])
    y = np.array([row["observed"] for row in rows])
    weight = np.array([row["weight"] for row in rows])
    interval = np.array([row["observed_ci95"] for row in rows])
    below, above = np.maximum(y - interval[:, 0], 0), np.maximum(interval[:, 1] - y, 0)
    axes.errorbar(x, y, yerr=[below, above], fmt="none", ecolor="C0", elinewidth=1, capsize=2)
    axes.scatter(x, y, s=_LARGEST_DOT * weight / weight.max(), color="C0", alpha=0.7)


def _bin(p: FloatArray, y: FloatArray, weight: FloatArray, prompt: IntArray) -> dict[str, Any]:
    total = float(weight.sum())
    found: dict[str, Any] = {"n": int(p.size), "weight": total}
    if not total > 0:
        return found | {"mean_predicted": None, "observed": None, "observed_ci95": None}
    observed = float((weight * y).sum()) / total
    return found | {
        "mean_predicted": float((weight * p).sum()) / total,
        "observed": observed,
        "observed_ci95": _wilson(observed, _effective_prompts(weight, prompt)),
    }


def _effective_prompts(weight: FloatArray, prompt: IntArray) -> float:
    """Kish's effective number of prompts: votes on one prompt may all agree, so they count as one,
    however many there are. The interval is rather too wide than too narrow."""
    _, index = np.unique(prompt, return_inverse=True)
    totals = np.bincount(index, weights=weight)
    return float(totals.sum() ** 2 / (totals**2).sum())


def _wilson(share: float, n: float) -> list[float]:
    """Wilson's interval of a share. Unlike a bootstrap's, it has a width in bins of few prompts
    that all agree; those are the outermost bins, which matter most to readers."""
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * float(np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)))
    # At a share of 0 or 1 the nearer end equals the share; min and max remove rounding errors.
    return [min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)]
