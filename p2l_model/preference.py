"""The probability of a vote's outcomes: each family's formula, in log space (numpy).

Source: Prompt-to-Leaderboard, arXiv 2502.14855, section 2 and its appendix on preference families.
`losses.py` has the same likelihoods in torch; a test checks that both agree.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from p2l_model.types import FloatArray, Outcome, PreferenceFamily

DECISIVE: Final = (Outcome.MODEL_A, Outcome.MODEL_B)
_THREE: Final = (*DECISIVE, Outcome.TIE)
_FOUR: Final = (*_THREE, Outcome.TIE_BOTHBAD)

REPARAM_SHIFT: Final = 1.000001
BA_SHIFT: Final = 1.02
# How rk derives its eta from the raw one: the shift and sharpness of the softplus, and its floor.
RK_SHIFT: Final = 22.5
RK_BETA: Final = 0.1
RK_FLOOR: Final = 0.02


def outcomes(family: PreferenceFamily) -> tuple[Outcome, ...]:
    """The outcomes that have a probability in the family, in the order of its arrays."""
    if family in (PreferenceFamily.BT, PreferenceFamily.BT_TIE):
        return DECISIVE
    if family in (PreferenceFamily.RK, PreferenceFamily.RK_REPARAM):
        return _THREE
    return _FOUR


def log_probabilities(
    family: PreferenceFamily,
    coef_a: ArrayLike,
    coef_b: ArrayLike,
    eta: ArrayLike = 0.0,
    gamma: ArrayLike = 0.0,
) -> FloatArray:
    """Log-probabilities (..., K) of `outcomes(family)` from coefficients, raw eta and gamma (...).

    bt: P(a) = sigmoid(beta_a - beta_b); bt-tie alike, a tie counting as half a win for each.
    rk: P(a) = sigmoid(delta - eta), P(b) = sigmoid(-delta - eta), P(tie) = the rest, with
    eta = max(softplus(eta_raw - 22.5, beta = 0.1), 0.02).
    rk-reparam: as grk without bothbad, whose probability goes to tie.
    grk: with pi = exp(beta) and tau = exp(eta) + 1.000001,
    P(a) = pi_a / (pi_a + tau pi_b + 1), P(b) alike, P(bothbad) = 1 / (1 + pi_a + pi_b), and
    P(tie) = the rest.
    ba: as grk with pi_gamma = exp(gamma) in place of the 1 and tau = exp(eta) + 1.02.
    """
    a, b = np.asarray(coef_a, dtype=np.float64), np.asarray(coef_b, dtype=np.float64)
    if family in (PreferenceFamily.BT, PreferenceFamily.BT_TIE):
        return np.stack([-np.logaddexp(0.0, b - a), -np.logaddexp(0.0, a - b)], axis=-1)
    raw = np.asarray(eta, dtype=np.float64)
    if family is PreferenceFamily.RK:
        return _rao_kupper(a - b, raw)
    if family is PreferenceFamily.RK_REPARAM:
        return _reparametrised(a, b, raw)
    if family is PreferenceFamily.GRK:
        return _grounded(a, b, raw, REPARAM_SHIFT)
    # Dividing every denominator by pi_gamma leaves grk's formula with a shifted level.
    level = np.asarray(gamma, dtype=np.float64)
    return _grounded(a - level, b - level, raw, BA_SHIFT)


def _rao_kupper(delta: FloatArray, raw: FloatArray) -> FloatArray:
    """With t = exp(eta) the tie's probability is exp(delta) (t^2 - 1) over both denominators."""
    softplus = np.logaddexp(0.0, RK_BETA * (raw - RK_SHIFT)) / RK_BETA
    eta = np.maximum(softplus, RK_FLOOR)
    log_a = -np.logaddexp(0.0, eta - delta)
    log_b = -np.logaddexp(0.0, eta + delta)
    # exp(delta) / ((exp(delta) + t)(1 + t exp(delta))) is P(a) P(b).
    log_tie = 2 * eta + np.log1p(-np.exp(-2 * eta)) + log_a + log_b
    return np.stack([log_a, log_b, log_tie], axis=-1)


def _reparametrised(a: FloatArray, b: FloatArray, raw: FloatArray) -> FloatArray:
    """With x, y, t as in _grounded_log_tie the tie's probability is (t^2 - 1) x y + t (x + y) + 1
    over both denominators."""
    log_tau = np.logaddexp(raw, np.log(REPARAM_SHIFT))
    log_a = a - np.logaddexp(np.logaddexp(a, log_tau + b), 0.0)
    log_b = b - np.logaddexp(np.logaddexp(b, log_tau + a), 0.0)
    log_square = 2 * log_tau + np.log1p(-np.exp(-2 * log_tau))  # log(t^2 - 1)
    numerator = np.logaddexp(a + b + log_square, log_tau + np.logaddexp(a, b))
    log_tie = np.logaddexp(numerator, 0.0) + (log_a - a) + (log_b - b)
    return np.stack([log_a, log_b, log_tie], axis=-1)


def _grounded(a: FloatArray, b: FloatArray, eta: FloatArray, shift: float) -> FloatArray:
    log_tau = np.logaddexp(eta, np.log(shift))
    zero = np.zeros_like(a)
    log_a = a - np.logaddexp(np.logaddexp(a, log_tau + b), zero)
    log_b = b - np.logaddexp(np.logaddexp(b, log_tau + a), zero)
    log_bad = -np.logaddexp(np.logaddexp(a, b), zero)
    return np.stack([log_a, log_b, _grounded_log_tie(a, b, log_tau), log_bad], axis=-1)


def _grounded_log_tie(a: FloatArray, b: FloatArray, log_tau: FloatArray) -> FloatArray:
    """log P(tie) without subtracting probabilities that nearly sum to one.

    With x = pi_a, y = pi_b, t = tau the remainder 1 - P(a) - P(b) - P(bothbad) has the numerator x
    y (t - 1) ((t + 1)(x + y) + 2) over the product of the three denominators. All terms are
    positive, so that it can be summed in log space.
    """
    log_pair = np.logaddexp(a, b)  # log(x + y)
    log_t_minus = log_tau + np.log1p(-np.exp(-log_tau))  # log(t - 1)
    log_t_plus = np.logaddexp(log_tau, 0.0)  # log(t + 1)
    numerator = a + b + log_t_minus + np.logaddexp(log_t_plus + log_pair, np.log(2.0))
    den_a = np.logaddexp(np.logaddexp(a, log_tau + b), 0.0)
    den_b = np.logaddexp(np.logaddexp(b, log_tau + a), 0.0)
    tie: FloatArray = numerator - den_a - den_b - np.logaddexp(log_pair, 0.0)
    return tie


def binary_log_odds(
    family: PreferenceFamily,
    coef_a: ArrayLike,
    coef_b: ArrayLike,
    eta: ArrayLike = 0.0,
    gamma: ArrayLike = 0.0,
) -> FloatArray:
    """log P(a beats b) - log P(b beats a), given that one of them wins."""
    logs = log_probabilities(family, coef_a, coef_b, eta, gamma)
    odds: FloatArray = logs[..., 0] - logs[..., 1]
    return odds
