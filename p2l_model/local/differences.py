"""How far groups, such as keys or profiles, differ in what they say of models.

The values of one group differ from those of all by N(0, tau^2 ((1 - rho) I + rho C)). C is the
correlation of the models' values over prompts: what people prefer may vary along the same
directions as what prompts need, and one of these is the level, that is, how strict somebody is. tau
and rho are those of a grid under which the groups' own answers were the most probable, each
foreseen from the others' answers and from the group's earlier ones (empirical Bayes). Where groups
do not differ tau is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from p2l_model.types import FloatArray

# Log-odds: first the two in the middle, then the one beyond the better of them.
_MIDDLE: Final = (0.5, 1.0)
_LEAST, _MOST = 0.25, 2.0
_RHO: Final = 0.5  # where tau is looked for
_RHOS: Final = (0.0, 0.9)
# By how much the answers must be more probable before groups are taken to differ: e^2 to 1.
_PLAIN: Final = 2.0
_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Differences:
    """How far groups differ: tau in log-odds, and the part rho of it that lies along the lines of
    prompts."""

    tau: float = 0.0
    rho: float = _RHO

    def covariance(self, together: FloatArray) -> FloatArray:
        """That of a group's values about those of all (M, M). together (M, M): C, as `correlation`
        returns it."""
        return self.tau**2 * ((1 - self.rho) * np.eye(len(together)) + self.rho * together)


def correlation(values: FloatArray) -> FloatArray:
    """The correlation (M, M) of M models over P prompts. values (P, M): what is said of them; a
    model of which the same is always said correlates with no other."""
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    standard = centred / np.where(spread > _TINY, spread, 1.0)
    found: FloatArray = standard.T @ standard / max(len(values), 1)
    np.fill_diagonal(found, 1.0)
    return found


def most_probable(evidence: Callable[[Differences], float]) -> Differences:
    """The differences under which the groups' answers were the most probable. evidence: the
    logarithm of that probability."""
    known = {(one := Differences()): evidence(one) + _PLAIN}

    def best_with(*tried: Differences) -> Differences:
        known.update({one: evidence(one) for one in tried})
        return max(known, key=lambda one: known[one])

    smaller, larger = (Differences(tau) for tau in _MIDDLE)
    best_with(smaller, larger)
    beyond = _LEAST if known[smaller] > known[larger] else _MOST
    best = best_with(Differences(beyond))
    if best.tau == 0:
        return best
    return best_with(*(replace(best, rho=rho) for rho in _RHOS))
