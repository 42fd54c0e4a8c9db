"""What an answer says of values: a grade of one, or a vote on two.

The value of a model is its coefficient: where the family is grounded, P(good) = sigmoid(value). The
outcomes of a vote have the probabilities of its family (docs/theory.md, section 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.preference import log_probabilities, outcomes
from p2l_model.types import FloatArray, Outcome, PreferenceFamily

_LEAST_CURVATURE: Final = 1e-3
_STEPS: Final = 6
_LONGEST: Final = 2.0  # log-odds in one step
_NEAR: Final = 1e-3  # log-odds from the mode
_STEP: Final = 1e-4
# Points and weights by which an expectation over a Gaussian is computed.
_POINTS, _SHARES = np.polynomial.hermite_e.hermegauss(9)
_LEAST_SPREAD: Final = 0.02  # variance of an outcome
# By how much the two values are moved for the derivatives: each up, each down, neither.
_MOVES: Final = _STEP * np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])


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
    def of(cls, outcome: Outcome, eta: float) -> Verdict:
        """That of one of the four outcomes."""
        return cls(_FOUR[outcome], eta=eta)


_FOUR: Final = dict(zip(outcomes(PreferenceFamily.GRK), np.eye(4), strict=True))


def grade(
    mean: FloatArray, variance: FloatArray, score: float, dispersion: float
) -> tuple[FloatArray, FloatArray]:
    """The mode (K,) of a value that was believed to be Gaussian, after a score in [0, 1], and the
    information (K,) that the score brought. dispersion: the noise of scores, 1 for coins. The
    likelihood is the cross-entropy with the score as a soft target."""
    value = mean.copy()
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-value))
        slope = chance * (1.0 - chance)
        step = variance * (score - chance) - dispersion * (value - mean)
        value += np.clip(step / (variance * slope + dispersion), -_LONGEST, _LONGEST)
    chance = 1.0 / (1.0 + np.exp(-value))
    return value, np.maximum(chance * (1.0 - chance), _LEAST_CURVATURE) / dispersion


def vote(
    mean: FloatArray, spread: FloatArray, verdict: Verdict
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The mode (K, 2) of two values that were believed to be Gaussian, after a vote on them, and
    the gradient (K, 2) and the Fisher information (K, 2, 2) of its log-likelihood there. mean
    (K, 2), spread (K, 2, 2): what was believed; a value without variance stays where it is."""
    value, identity = mean.copy(), np.eye(2)
    for _ in range(_STEPS):
        gradient, information = _slopes(value, verdict)
        apart = (spread @ gradient[:, :, None])[:, :, 0] - (value - mean)
        step = np.linalg.solve(identity + spread @ information, apart[:, :, None])[:, :, 0]
        value += np.clip(step, -_LONGEST, _LONGEST)
        if np.abs(step).max() < _NEAR:
            break
    return value, *_slopes(value, verdict)


def evidence(
    value: FloatArray,
    gradient: FloatArray,
    information: FloatArray,
    spread: FloatArray,
    verdict: Verdict,
) -> FloatArray:
    """The logarithm (K,) of how probable a vote was before it was heard (Laplace's approximation).
    value, gradient, information: as `vote` returns them. spread (K, 2, 2): what was believed."""
    raw = verdict.eta, verdict.gamma
    logs = log_probabilities(verdict.family, value[:, 0], value[:, 1], *raw)
    found = verdict.weight * (logs @ verdict.targets)
    found -= 0.5 * np.einsum("ki,kij,kj->k", gradient, spread, gradient)
    wider: FloatArray = np.linalg.slogdet(np.eye(2) + information @ spread)[1]
    return found - 0.5 * wider


def surprise(mean: FloatArray, spread: FloatArray, verdict: Verdict) -> float:
    """How many standard deviations a vote lay above what was foreseen of the first model: a win is
    1, a tie of either kind a half. mean (2,), spread (2, 2): what was believed of the values."""
    n = len(verdict.targets)
    worth = np.full(n, 0.5)
    worth[:2] = 1.0, 0.0
    deviation = math.sqrt(max(float(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1]), 0.0))
    apart = 0.5 * deviation * _POINTS
    raw = verdict.eta, verdict.gamma
    logs = log_probabilities(verdict.family, mean[0] + apart, mean[1] - apart, *raw)
    chances = (_SHARES / _SHARES.sum()) @ np.exp(logs)
    expected = float(chances @ worth)
    variance = float(chances @ worth**2) - expected**2
    told = float(verdict.targets @ worth)
    return (told - expected) / math.sqrt(max(variance, _LEAST_SPREAD))


def _slopes(value: FloatArray, verdict: Verdict) -> tuple[FloatArray, FloatArray]:
    """The gradient (K, 2) and the Fisher information (K, 2, 2), which has no negative eigenvalue
    for any outcome."""
    moved = value[:, None, :] + _MOVES
    raw = verdict.eta, verdict.gamma
    logs = log_probabilities(verdict.family, moved[:, :, 0], moved[:, :, 1], *raw)
    slope = (logs[:, :2] - logs[:, 2:4]) / (2 * _STEP)  # (K, 2, n)
    expected = (slope * np.exp(logs[:, 4:])) @ np.swapaxes(slope, 1, 2)
    return verdict.weight * (slope @ verdict.targets), verdict.weight * expected
