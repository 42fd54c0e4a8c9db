"""Measures of predictions: losses per vote, calibration, and intervals that resample prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.data.files import VoteTable
from p2l_model.data.soft_labels import target_matrix
from p2l_model.preference import log_probabilities
from p2l_model.types import FloatArray, IntArray, PreferenceFamily

N_BINS: Final = 15
N_RESAMPLES: Final = 2000
_BOTH_SIDES: Final = 2
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions for N votes.

    loss (N,): the family's own cross-entropy. p_a (N,): P(a beats b), given that one of them wins.
    outcome_a (N,): 1 where a won, 0 where b did, 0.5 for ties, or the soft label.
    """

    loss: FloatArray
    p_a: FloatArray
    outcome_a: FloatArray


def outcome_log_probabilities(
    family: PreferenceFamily, votes: VoteTable, outputs: HeadOutputs
) -> FloatArray:
    """Log-probabilities (N, K) of `outcomes(family)`. outputs: of the votes' P prompts."""
    a = outputs.coefficients[votes.prompt, votes.model_a]
    b = outputs.coefficients[votes.prompt, votes.model_b]
    return log_probabilities(family, a, b, outputs.eta[votes.prompt], outputs.gamma[votes.prompt])


def predict(family: PreferenceFamily, votes: VoteTable, outputs: HeadOutputs) -> Predictions:
    """The predictions for the votes. outputs: of the votes' P prompts."""
    logs = outcome_log_probabilities(family, votes, outputs)
    loss = -(target_matrix(family, votes) * logs).sum(axis=1)
    p_a = 1.0 / (1.0 + np.exp(np.clip(logs[:, 1] - logs[:, 0], -700, 700)))
    return Predictions(loss, p_a, target_matrix(PreferenceFamily.BT, votes)[:, 0])


def summary(predictions: Predictions, weight: FloatArray) -> dict[str, Any]:
    """Returns log_loss (over the family's own outcomes), log_loss_binary (ties as half a win),
    accuracy, brier and ece (on decisive votes; None where there are none)."""
    p, y = predictions.p_a, predictions.outcome_a
    decisive = y != 0.5
    return {
        "log_loss": _mean(predictions.loss, weight),
        "log_loss_binary": _mean(binary_loss(predictions), weight),
        "accuracy": _accuracy(p[decisive], y[decisive], weight[decisive]),
        "brier": _mean((p[decisive] - y[decisive]) ** 2, weight[decisive]),
        "ece": calibration_error(p[decisive], y[decisive], weight[decisive]),
    }


def source_mean(loss: FloatArray, votes: VoteTable) -> float:
    """The weighted mean of loss (N,) per source, averaged over sources.

    Each source counts by the square root of its number of prompts, so that a large data set does
    not outvote the small ones, and a handful of prompts does not decide. Votes without weight do
    not count; at least one must have some.
    """
    means, sizes = [], []
    for name in np.unique(votes.source[votes.weight > 0]):
        counted = (votes.source == name) & (votes.weight > 0)
        means.append(float(np.average(loss[counted], weights=votes.weight[counted])))
        sizes.append(np.unique(votes.prompt[counted]).size)
    return float(np.average(means, weights=np.sqrt(sizes)))


def binary_loss(predictions: Predictions) -> FloatArray:
    """The cross-entropy (N,) of P(a beats b), with a tie as half a win for each side: the one loss
    that families with different outcomes have in common."""
    y, safe = predictions.outcome_a, np.clip(predictions.p_a, 1e-12, 1 - 1e-12)
    loss: FloatArray = -(y * np.log(safe) + (1 - y) * np.log1p(-safe))
    return loss


def loss_difference(
    first: FloatArray, second: FloatArray, weight: FloatArray, prompt: IntArray, seed: int
) -> dict[str, Any]:
    """Returns delta_log_loss, the weighted mean of first - second (N,), None where nothing has
    weight, and delta_ci95, its interval over prompts."""
    difference = first - second
    return {
        "delta_log_loss": _mean(difference, weight),
        "delta_ci95": prompt_bootstrap(difference, weight, prompt, seed),
    }


def calibration_bins(p: FloatArray) -> IntArray:
    """The index of the equal-width bin, of N_BINS, for each probability (N,)."""
    return np.minimum((p * N_BINS).astype(np.int64), N_BINS - 1)


def calibration_error(p: FloatArray, y: FloatArray, weight: FloatArray) -> float | None:
    """The expected calibration error over N_BINS equal-width bins of P(a beats b)."""
    if p.size == 0:
        return None
    gaps = np.bincount(calibration_bins(p), weights=weight * (p - y), minlength=N_BINS)
    return float(np.abs(gaps).sum() / weight.sum())


def prompt_bootstrap(
    difference: FloatArray, weight: FloatArray, prompt: IntArray, seed: int
) -> list[float]:
    """The 95% interval of the weighted mean of difference (N,); it resamples prompts, not votes."""
    _, index = np.unique(prompt, return_inverse=True)
    totals = np.bincount(index, weights=weight * difference)  # (P,)
    weights = np.bincount(index, weights=weight)
    chance = np.random.default_rng(seed)
    n_prompts = totals.size
    means: list[FloatArray] = []
    for _ in range(N_RESAMPLES // _CHUNK):
        counts = chance.multinomial(n_prompts, np.full(n_prompts, 1 / n_prompts), size=_CHUNK)
        means.append((counts @ totals) / np.maximum(counts @ weights, 1e-300))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return [float(low), float(high)]


def _accuracy(p: FloatArray, y: FloatArray, weight: FloatArray) -> float | None:
    hit = np.where(p == 0.5, 0.5, ((p > 0.5) == (y > 0.5)).astype(np.float64))
    return _mean(hit, weight)


def _mean(values: FloatArray, weight: FloatArray) -> float | None:
    total = float(weight.sum())
    return float((values * weight).sum()) / total if total > 0 else None
