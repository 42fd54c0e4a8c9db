"""All pairs of a leaderboard at once, as probabilities: the M x M matrix takes one division.

Every family except bt's ties has the same two formulas (`preference` has them in log space, for one
pair at a time; a test checks that both agree). With x = exp(coefficient):

    P(a beats b) = x_a / (x_a + t x_b + c)      P(both bad) = 1 / (1 + x_a + x_b)

c is 1 where coefficients have an absolute zero, else 0; t is 1 in bt, exp(eta) in rk and tau in the
others. The tie has the rest of the probability, and that of both bad where the family lacks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.errors import ScoringError
from p2l_model.preference import BA_SHIFT, REPARAM_SHIFT, RK_BETA, RK_FLOOR, RK_SHIFT
from p2l_model.types import FloatArray, PreferenceFamily

# exp of this is far from overflow even when two are multiplied; no trained head gives such a
# coefficient.
MAX_COEFFICIENT: Final = 300.0
_WITHOUT_TIES: Final = (PreferenceFamily.BT, PreferenceFamily.BT_TIE)
_WITHOUT_ZERO: Final = (*_WITHOUT_TIES, PreferenceFamily.RK)


@dataclass(frozen=True, slots=True)
class PairModel:
    """The two formulas for one family."""

    family: PreferenceFamily

    @property
    def has_tie(self) -> bool:
        """Whether a vote can be a tie."""
        return self.family not in _WITHOUT_TIES

    @property
    def has_bad(self) -> bool:
        """Whether both answers can be bad."""
        return self.family in (PreferenceFamily.GRK, PreferenceFamily.BA)

    @property
    def shift_invariant(self) -> bool:
        """Whether adding the same number to all coefficients changes nothing."""
        return self.family in _WITHOUT_ZERO

    def strengths(self, outputs: HeadOutputs) -> FloatArray:
        """Strengths x (P, M). ba's gamma is the level that coefficients are measured from.

        Raises ScoringError where a coefficient is not finite or absurdly large.
        """
        levels = outputs.coefficients
        if self.family is PreferenceFamily.BA:
            levels = levels - outputs.gamma[:, None]
        elif self.shift_invariant:
            levels = levels - levels.mean(axis=1, keepdims=True)
        if not bool(np.all(np.abs(levels) < MAX_COEFFICIENT)):
            raise ScoringError("the model gave coefficients that are not finite or over 300")
        x: FloatArray = np.exp(levels)
        return x

    def tie_factor(self, eta: FloatArray) -> FloatArray:
        """The tie factor t of raw eta, elementwise. A factor too large for a float is capped, as no
        model wins there anyway."""
        if self.family in _WITHOUT_TIES:
            return np.ones_like(eta)
        if self.family is PreferenceFamily.RK:
            softplus = np.logaddexp(0.0, RK_BETA * (eta - RK_SHIFT)) / RK_BETA
            bounded = np.minimum(np.maximum(softplus, RK_FLOOR), MAX_COEFFICIENT)
            rao_kupper: FloatArray = np.exp(bounded)
            return rao_kupper
        factor: FloatArray = np.exp(np.minimum(eta, MAX_COEFFICIENT)) + self._shift
        return factor

    def tie_slope(self, eta: float) -> float:
        """d log t / d eta; 0 in families without ties and on rk's floor."""
        if self.family in _WITHOUT_TIES:
            return 0.0
        if self.family is PreferenceFamily.RK:
            on_floor = np.logaddexp(0.0, RK_BETA * (eta - RK_SHIFT)) / RK_BETA <= RK_FLOOR
            return 0.0 if on_floor else float(1.0 / (1.0 + np.exp(-RK_BETA * (eta - RK_SHIFT))))
        return float(1.0 / (1.0 + self._shift * np.exp(-eta)))

    def win(self, x: FloatArray, t: FloatArray) -> FloatArray:
        """P(a beats b) (..., M, M) from strengths (..., M) and tie factors (...); the diagonal has
        no meaning."""
        beaten = t[..., None] * x  # (..., M)
        if not self.shift_invariant:
            beaten = beaten + 1.0
        denominator = x[..., :, None] + beaten[..., None, :]
        return np.divide(x[..., :, None], denominator, out=denominator)

    def bad(self, x: FloatArray) -> FloatArray:
        """P(both bad) (..., M, M) from strengths (..., M)."""
        denominator = (1.0 + x)[..., :, None] + x[..., None, :]
        return np.divide(1.0, denominator, out=denominator)

    @property
    def _shift(self) -> float:
        return BA_SHIFT if self.family is PreferenceFamily.BA else REPARAM_SHIFT
