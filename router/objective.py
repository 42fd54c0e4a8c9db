"""The objective that the router maximises: a value in [0, 1] per model, for this prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import numpy as np

from p2l_model.types import FloatArray, PreferenceFamily, PromptLeaderboard
from router.errors import InvalidRoutingError

_GROUNDED: Final = (PreferenceFamily.GRK, PreferenceFamily.BA)
_MAX_STEPS: Final = 200
_SPREAD: Final = math.pi / 8.0


class Objective(StrEnum):
    """win_rate: the probability of beating the opponents (Theorem 1). p_good: the probability that
    the answer is not bad, for families whose coefficients have an absolute zero. expected_score:
    the graded score that the checkpoint predicts."""

    WIN_RATE = "win_rate"
    P_GOOD = "p_good"
    EXPECTED_SCORE = "expected_score"


def objective_values(
    objective: Objective, leaderboard: PromptLeaderboard, win_rate: FloatArray | None = None
) -> FloatArray:
    """Returns the values (M,) of the leaderboard's models, NaN where it has none. Raises
    InvalidRoutingError where this leaderboard cannot express the objective."""
    if objective is Objective.P_GOOD:
        return _p_good(leaderboard)
    if objective is Objective.EXPECTED_SCORE:
        if leaderboard.expected_scores is None:
            raise InvalidRoutingError(
                "objective expected_score needs a checkpoint trained on graded answers.",
                "objective",
            )
        return leaderboard.expected_scores
    if win_rate is None:
        raise ValueError("win rates need opponents")
    return win_rate


def is_known(objective: Objective, leaderboard: PromptLeaderboard) -> bool:
    """Whether this leaderboard can express the objective."""
    if objective is Objective.P_GOOD:
        return leaderboard.family in _GROUNDED
    return objective is not Objective.EXPECTED_SCORE or leaderboard.expected_scores is not None


def _p_good(leaderboard: PromptLeaderboard) -> FloatArray:
    """sigmoid(beta): 1 - P(tie_bothbad) of a model against an opponent that is always bad."""
    if leaderboard.family not in _GROUNDED:
        raise InvalidRoutingError(
            f"objective p_good needs a checkpoint of family grk or ba, not {leaderboard.family}.",
            "objective",
        )
    level = 0.0 if leaderboard.gamma is None else leaderboard.gamma
    good: FloatArray = 0.5 * (1.0 + np.tanh(0.5 * (leaderboard.coefficients - level)))
    return good


def win_rates(
    coefficients: FloatArray,
    opponent_coefficients: FloatArray,
    weights: FloatArray,
    scales: FloatArray | None = None,
) -> FloatArray:
    """W* q of Theorem 1 (M,), from coefficients (M,), opponents (K,) and their weights (K,).

    scales (M,): what differences of coefficients are multiplied by, for uncertain ones; None: 1.

    W*_ba = sigmoid(theta_b - theta_a) is computed with tanh, which neither overflows nor becomes
    0/0, however far the coefficients spread.
    """
    difference = coefficients[:, None] - opponent_coefficients[None, :]  # (M, K)
    difference *= 0.5 if scales is None else 0.5 * scales[:, None]
    np.tanh(difference, out=difference)
    rates: FloatArray = 0.5 * (weights.sum() + difference @ weights)
    return rates


def posterior_scales(sd: FloatArray) -> FloatArray:
    """What a difference of coefficients is multiplied by (M,) where it is uncertain by sd (M,): the
    mean of sigmoid(x) over a Gaussian is sigmoid(x / sqrt(1 + pi sd^2 / 8)), to about 0.01 (MacKay,
    The evidence framework applied to classification networks, 1992)."""
    scales: FloatArray = 1.0 / np.sqrt(1.0 + _SPREAD * sd * sd)
    return scales


def opponent_weights(
    models: Sequence[str], coefficients: FloatArray, opponents: Mapping[str, float] | None
) -> tuple[FloatArray, FloatArray]:
    """Returns the opponents' coefficients (K,) and weights (K,), which sum to 1.

    opponents: None for all models alike. Opponents without a coefficient are left out as long as
    others remain. Raises InvalidRoutingError.
    """
    finite = np.isfinite(coefficients)
    if opponents is None:
        known = coefficients[finite]
        if known.size == 0:
            raise InvalidRoutingError("The leaderboard has no finite coefficient.")
        return known, np.full(known.size, 1.0 / known.size)
    column = {name: index for index, name in enumerate(models) if finite[index]}
    chosen = [(column[name], weight) for name, weight in opponents.items() if name in column]
    weights = np.array([weight for _, weight in chosen])
    if not np.all(np.isfinite(weights)) or np.any(weights < 0) or weights.sum() <= 0:
        raise InvalidRoutingError(
            "opponents must name models of the leaderboard with weights of at least 0, "
            f"one of them above 0; got {', '.join(opponents)}.",
            "opponents",
        )
    return coefficients[[index for index, _ in chosen]], weights / weights.sum()


def router_coefficient(
    win_rate: float,
    opponent_coefficients: FloatArray,
    weights: FloatArray,
    start: float = math.nan,
) -> float:
    """The router's own Bradley-Terry coefficient (Algorithm 1): the root t of sum_a q_a sigmoid(t -
    theta_a) = win_rate.

    It is infinite where the win rate is 0 or 1. Newton steps are taken on the monotone left side,
    inside a shrinking bracket. start: a first guess; for a mix of one model its own coefficient is
    the root.
    """
    if win_rate <= 0.0 or win_rate >= 1.0:
        return math.inf if win_rate >= 1.0 else -math.inf
    logit = math.log(win_rate) - math.log1p(-win_rate)
    low = float(opponent_coefficients.min()) + logit
    high = float(opponent_coefficients.max()) + logit
    root = start if low < start < high else 0.5 * (low + high)
    for _ in range(_MAX_STEPS):
        sigmoid = 0.5 * (1.0 + np.tanh(0.5 * (root - opponent_coefficients)))
        excess = float(sigmoid @ weights) - win_rate
        low, high = (low, root) if excess > 0 else (root, high)
        slope = float((sigmoid * (1.0 - sigmoid)) @ weights)
        step = root - excess / slope if slope > 0 else math.nan
        # This comes first: at the root the bracket ends, so that the step is no longer inside it.
        if abs(step - root) <= 1e-13 * (1.0 + abs(root)):
            return step
        following = step if low < step < high else 0.5 * (low + high)
        if following == root:
            return root
        root = following
    return root
