"""What an answer says of values: a grade of one, or a vote on two.

The value of a model is its coefficient: where the family is grounded, P(good) = sigmoid(value). The
outcomes of a vote have the probabilities of its family (docs/theory.md, section 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from p2l_model.preference import REPARAM_SHIFT, log_probabilities, outcomes
from p2l_model.types import FloatArray, Outcome, PreferenceFamily

_LEAST_CURVATURE: Final = 1e-3
_STEPS: Final = 6
_LONGEST: Final = 2.0  # log-odds in one step
_NEAR: Final = 1e-3  # log-odds from the mode
# Where the squares of all components' steps sum to less (log-odds^2), the next step of Newton's
# method would be shorter than 1e-9.
_SETTLED: Final = 1e-8
_STEP: Final = 1e-4
_FARTHEST: Final = 100.0  # log-odds, beyond which outcomes are certain
_LEAST_SPREAD: Final = 0.02  # variance of an outcome
_IDENTITY: Final = np.eye(2)
# By how much the two values are moved for the derivatives: each up, each down, neither.
_MOVES: Final = _STEP * np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
# Points and weights by which an expectation over a Gaussian is computed: a difference of two values
# is half above the mean of one, and half below that of the other.
_POINTS, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_APART: Final = _POINTS[:, None] * np.array([1.0, -1.0])
_SHARES: Final = _WEIGHTS / _WEIGHTS.sum()
# What an outcome is worth to the first model, in the order of `outcomes`.
_WORTH: Final = np.array([1.0, 0.0, 0.5, 0.5])
# grk's log-probabilities are sums of the two values and of the logarithms of four sums.
_CONSTANTS: Final = np.array([1.0, 1.0, 1.0, 2.0])
_DIRECT: Final = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
_MIXED: Final = np.array(
    [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [-1.0, -1.0, -1.0, 1.0], [0.0, 0.0, -1.0, 0.0]]
)


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What was said of two answers. targets (n,): the probability of each of `outcomes(family)`;
    eta, gamma: the raw parameters of ties; weight: for how many votes it counts."""

    targets: FloatArray
    family: PreferenceFamily = PreferenceFamily.GRK
    eta: float = 0.0
    gamma: float = 0.0
    weight: float = 1.0

    @classmethod
    def of(cls, outcome: Outcome, eta: float, weight: float = 1.0) -> Verdict:
        """That of one of the four outcomes."""
        return cls(_FOUR[outcome], eta=eta, weight=weight)


_FOUR: Final = dict(zip(outcomes(PreferenceFamily.GRK), np.eye(4), strict=True))


def grade(
    mean: FloatArray, variance: FloatArray, score: float, dispersion: float
) -> tuple[FloatArray, FloatArray]:
    """The mode (K,) of a value that was believed to be Gaussian, after a score in [0, 1], and the
    information (K,) that the score brought. dispersion: the noise of scores, 1 for coins. The
    likelihood is the cross-entropy with the score as a soft target."""
    value, wide = mean, variance / dispersion
    chance = 1.0 / (1.0 + np.exp(-mean))
    step = wide * (score - chance) / (wide * (chance * (1.0 - chance)) + 1.0)
    for _ in range(_STEPS):
        moved = float(step @ step)
        if moved > _LONGEST**2:
            step = np.minimum(np.maximum(step, -_LONGEST), _LONGEST)
        value = value + step
        chance = 1.0 / (1.0 + np.exp(-value))
        slope = chance * (1.0 - chance)
        if moved < _SETTLED:
            break
        step = (wide * (score - chance) - (value - mean)) / (wide * slope + 1.0)
    return value, np.maximum(slope, _LEAST_CURVATURE) / dispersion


@dataclass(frozen=True, slots=True, eq=False)
class Mode:
    """Where a vote leaves two values. value (K, 2): the mode; logs (K, n): the log-probabilities of
    the outcomes there; gradient (K, 2), information (K, 2, 2): of the vote's log-likelihood there,
    the Fisher information."""

    value: FloatArray
    logs: FloatArray
    gradient: FloatArray
    information: FloatArray


def vote(mean: FloatArray, spread: FloatArray, verdict: Verdict) -> Mode:
    """The mode of two values that were believed to be Gaussian, after a vote on them. mean (K, 2),
    spread (K, 2, 2): what was believed; a value without variance stays where it is."""
    value = mean.copy()
    for _ in range(_STEPS):
        _, gradient, information = _slopes(value, verdict)
        apart = (spread @ gradient[:, :, None])[:, :, 0] - (value - mean)
        step = np.linalg.solve(_IDENTITY + spread @ information, apart[:, :, None])[:, :, 0]
        longest = float(np.abs(step).max())
        if longest > _LONGEST:
            step = np.minimum(np.maximum(step, -_LONGEST), _LONGEST)
        value += step
        if longest < _NEAR:
            break
    return Mode(value, *_slopes(value, verdict))


def evidence(mode: Mode, spread: FloatArray, verdict: Verdict) -> FloatArray:
    """The logarithm (K,) of how probable a vote was before it was heard (Laplace's approximation).
    spread (K, 2, 2): what was believed."""
    found = verdict.weight * (mode.logs @ verdict.targets)
    found -= 0.5 * np.einsum("ki,kij,kj->k", mode.gradient, spread, mode.gradient)
    wider = _IDENTITY + mode.information @ spread
    determinant = wider[:, 0, 0] * wider[:, 1, 1] - wider[:, 0, 1] * wider[:, 1, 0]
    told: FloatArray = found - 0.5 * np.log(determinant)
    return told


def surprise(mean: FloatArray, spread: FloatArray, verdict: Verdict) -> float:
    """How many standard deviations a vote lay above what was foreseen of the first model: a win is
    1, a tie of either kind a half. mean (2,), spread (2, 2): what was believed of the values."""
    worth = _WORTH[: len(verdict.targets)]
    deviation = math.sqrt(max(float(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1]), 0.0))
    logs = _logs(mean + (0.5 * deviation) * _APART, verdict)
    chances = _SHARES @ np.exp(logs)
    expected = float(chances @ worth)
    variance = float(chances @ worth**2) - expected**2
    told = float(verdict.targets @ worth)
    return (told - expected) / math.sqrt(max(variance, _LEAST_SPREAD))


def _logs(value: FloatArray, verdict: Verdict) -> FloatArray:
    """The log-probabilities (..., n) of the outcomes at two values (..., 2)."""
    if verdict.family is PreferenceFamily.GRK:
        return _grounded(value, verdict.eta)[0]
    raw = verdict.eta, verdict.gamma
    return log_probabilities(verdict.family, value[..., 0], value[..., 1], *raw)


def _slopes(value: FloatArray, verdict: Verdict) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The log-probabilities (K, n), the gradient (K, 2) and the Fisher information (K, 2, 2), which
    has no negative eigenvalue for any outcome."""
    if verdict.family is PreferenceFamily.GRK:
        logs, slope = _grounded(value, verdict.eta)
    else:
        moved = _logs(value[:, None, :] + _MOVES, verdict)
        logs, slope = moved[:, 4], np.swapaxes(moved[:, :2] - moved[:, 2:4], 1, 2) / (2 * _STEP)
    expected = np.swapaxes(slope * np.exp(logs)[:, :, None], 1, 2) @ slope
    gradient = verdict.targets @ slope
    if verdict.weight == 1.0:
        return logs, gradient, expected
    return logs, verdict.weight * gradient, verdict.weight * expected


def _grounded(value: FloatArray, eta: float) -> tuple[FloatArray, FloatArray]:
    """The log-probabilities (K, 4) of grk at the values (K, 2), and their derivatives (K, 4, 2) by
    these.

    With x = exp(a), y = exp(b) and t = tau, x + t y + 1, y + t x + 1, x + y + 1 and
    (t + 1)(x + y) + 2 are what the probabilities are made of (`p2l_model.preference`); the
    derivatives are sums of the parts that x and y have of each.
    """
    factors, level = _ties(eta)
    kept = np.minimum(np.maximum(value, -_FARTHEST), _FARTHEST)
    worth = np.exp(kept)
    sums = worth @ factors.T + _CONSTANTS
    slope = _MIXED @ (worth[:, None, :] * factors / sums[:, :, None])
    slope += _DIRECT
    logs = np.log(sums) @ _MIXED.T
    logs += kept @ _DIRECT.T
    logs += level
    return logs, slope


@lru_cache(maxsize=64)
def _ties(eta: float) -> tuple[FloatArray, FloatArray]:
    """The factors (4, 2) of x and y in the four sums, and what is added to each outcome's
    log-probability (4,)."""
    tau = math.exp(min(eta, _FARTHEST)) + REPARAM_SHIFT
    factors = np.array([[1.0, tau], [tau, 1.0], [1.0, 1.0], [tau + 1.0, tau + 1.0]])
    return factors, np.array([0.0, 0.0, math.log(tau - 1.0), 0.0])
