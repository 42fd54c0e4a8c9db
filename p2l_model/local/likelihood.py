"""What an answer says of values: a grade of one, or the four outcomes of a vote on two.

The value of a model is its grounded coefficient: P(good) = sigmoid(value), and the outcomes of a
vote have the probabilities of the family grk (docs/theory.md, section 1). Each log-likelihood is a
linear function plus logarithms of sums of exponentials, so gradient and curvature are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from p2l_model.preference import REPARAM_SHIFT
from p2l_model.types import FloatArray, Outcome

# The sign of a logarithm, and the factors in it: of 1, of exp(first value), of exp(second value).
Term = tuple[float, tuple[float, float, float]]
_LEAST_CURVATURE: Final = 1e-3
_STEPS: Final = 6
_LONGEST: Final = 2.0  # log-odds in one step


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
    mean: FloatArray, spread: FloatArray, outcome: Outcome, eta: float
) -> tuple[FloatArray, FloatArray]:
    """The same of a vote on models a and b. mean (K, 2), spread (K, 2, 2): of their values; eta:
    the raw tie parameter. Returns the mode (K, 2) and the information (K, 2, 2)."""
    value, identity = mean.copy(), np.eye(2)
    for _ in range(_STEPS):
        gradient, information = _slopes(value, outcome, eta)
        apart = (spread @ gradient[:, :, None])[:, :, 0] - (value - mean)
        step = np.linalg.solve(identity + spread @ information, apart[:, :, None])[:, :, 0]
        value += np.clip(step, -_LONGEST, _LONGEST)
    return value, _slopes(value, outcome, eta)[1]


def _slopes(value: FloatArray, outcome: Outcome, eta: float) -> tuple[FloatArray, FloatArray]:
    """The gradient (K, 2) and the negative curvature (K, 2, 2) of the log-likelihood."""
    linear, terms = _form(outcome, float(np.exp(eta)) + REPARAM_SHIFT)
    gradient = np.broadcast_to(np.array(linear), value.shape).copy()
    curvature = np.zeros((*value.shape, 2))
    for sign, factors in terms:
        share = _shares(value, factors)
        gradient += sign * share
        spread = share[:, :, None] * np.eye(2) - share[:, :, None] * share[:, None, :]
        curvature -= sign * spread
    return gradient, _positive(curvature)


def _form(outcome: Outcome, tau: float) -> tuple[tuple[float, float], Sequence[Term]]:
    """With x = exp(a), y = exp(b), t = tau: P(a) = x / (x + t y + 1), P(bothbad) = 1 / (1 + x + y),
    P(tie) = x y (t - 1) ((t + 1)(x + y) + 2) over the product of the three denominators."""
    wins_a, wins_b = (1.0, 1.0, tau), (1.0, tau, 1.0)
    bad = (1.0, 1.0, 1.0)
    if outcome is Outcome.MODEL_A:
        return (1.0, 0.0), ((-1.0, wins_a),)
    if outcome is Outcome.MODEL_B:
        return (0.0, 1.0), ((-1.0, wins_b),)
    if outcome is Outcome.TIE_BOTHBAD:
        return (0.0, 0.0), ((-1.0, bad),)
    both = (2.0, tau + 1, tau + 1)
    return (1.0, 1.0), ((1.0, both), (-1.0, wins_a), (-1.0, wins_b), (-1.0, bad))


def _shares(value: FloatArray, factors: tuple[float, float, float]) -> FloatArray:
    """The shares (K, 2) of the two exponentials in the sum."""
    logs = np.clip(value, -30.0, 30.0) + np.log(factors[1:])
    total = np.logaddexp(np.logaddexp(logs[:, 0], logs[:, 1]), np.log(factors[0]))
    shares: FloatArray = np.exp(logs - total[:, None])
    return shares


def _positive(curvature: FloatArray) -> FloatArray:
    """The nearest matrices whose eigenvalues are positive: a tie's log-likelihood is not concave
    everywhere."""
    values, vectors = np.linalg.eigh(curvature)
    kept = np.maximum(values, _LEAST_CURVATURE)
    positive: FloatArray = (vectors * kept[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    return positive
