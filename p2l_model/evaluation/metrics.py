"""How good predictions are: per-vote losses, calibration, and intervals that resample prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.data.files import IntArray, VoteTable
from p2l_model.data.soft_labels import target_matrix
from p2l_model.preference import log_probabilities
from p2l_model.types import FloatArray, PreferenceFamily

N_BINS: Final = 15
N_RESAMPLES: Final = 2000
_BOTH_SIDES: Final = 2
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class Predictions:
    """Of N votes. loss: the family's own cross-entropy (N,). p_a: P(a beats b), ties aside (N,).
    outcome_a: 1 where a won, 0 where b did, 0.5 for ties, or the soft label (N,)."""

    loss: FloatArray
    p_a: FloatArray
    outcome_a: FloatArray


def outcome_log_probabilities(
    family: PreferenceFamily, votes: VoteTable, outputs: HeadOutputs
) -> FloatArray:
    """(N, K) over `outcomes(family)`. outputs: of the votes' P prompts."""
    a = outputs.coefficients[votes.prompt, votes.model_a]
    b = outputs.coefficients[votes.prompt, votes.model_b]
    return log_probabilities(family, a, b, outputs.eta[votes.prompt], outputs.gamma[votes.prompt])


def predict(family: PreferenceFamily, votes: VoteTable, outputs: HeadOutputs) -> Predictions:
    """outputs: of the votes' P prompts."""
    logs = outcome_log_probabilities(family, votes, outputs)
    loss = -(target_matrix(family, votes) * logs).sum(axis=1)
    p_a = 1.0 / (1.0 + np.exp(np.clip(logs[:, 1] - logs[:, 0], -700, 700)))
    return Predictions(loss, p_a, target_matrix(PreferenceFamily.BT, votes)[:, 0])


def summary(predictions: Predictions, weight: FloatArray) -> dict[str, Any]:
    """log_loss (the family's own outcomes), log_loss_binary (ties as half), accuracy, brier and
    ece (on decisive votes; None where there are none)."""
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
    """Weighted mean loss (N,) per source, then over sources, each with the root of its number of
    prompts: a large set does not outvote the small ones, a handful of prompts does not decide.
    Votes without weight do not count; at least one must have some."""
    means, sizes = [], []
    for name in np.unique(votes.source[votes.weight > 0]):
        counted = (votes.source == name) & (votes.weight > 0)
        means.append(float(np.average(loss[counted], weights=votes.weight[counted])))
        sizes.append(np.unique(votes.prompt[counted]).size)
    return float(np.average(means, weights=np.sqrt(sizes)))


def binary_loss(predictions: Predictions) -> FloatArray:
    """The cross-entropy of P(a beats b), a tie as half a win for each side (N,): the one loss that
    families with different outcomes have in common."""
    y, safe = predictions.outcome_a, np.clip(predictions.p_a, 1e-12, 1 - 1e-12)
    loss: FloatArray = -(y * np.log(safe) + (1 - y) * np.log1p(-safe))
    return loss


def loss_difference(
    first: FloatArray, second: FloatArray, weight: FloatArray, prompt: IntArray, seed: int
) -> dict[str, Any]:
    """delta_log_loss: the weighted mean of first - second (N,), None where nothing has weight;
    delta_ci95: its interval over prompts."""
    difference = first - second
    return {
        "delta_log_loss": _mean(difference, weight),
        "delta_ci95": prompt_bootstrap(difference, weight, prompt, seed),
    }


def calibration_bins(p: FloatArray) -> IntArray:
    """Which of the N_BINS equal-width bins each probability (N,) is in."""
    return np.minimum((p * N_BINS).astype(np.int64), N_BINS - 1)


def calibration_error(p: FloatArray, y: FloatArray, weight: FloatArray) -> float | None:
    """Expected calibration error over N_BINS equal-width bins of P(a beats b)."""
    if p.size == 0:
        return None
    gaps = np.bincount(calibration_bins(p), weights=weight * (p - y), minlength=N_BINS)
    return float(np.abs(gaps).sum() / weight.sum())


def prompt_bootstrap(
    difference: FloatArray, weight: FloatArray, prompt: IntArray, seed: int
) -> list[float]:
    """The 95% interval of the weighted mean of difference (N,), resampling prompts, not rows."""
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
