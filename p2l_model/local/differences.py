"""How far groups, such as keys or profiles, differ in what they say of models.

The values of one group differ from those of all by N(0, tau^2 (I + C) / 2). C is the correlation of
the models' values over prompts: what people prefer varies along the same directions as what prompts
need, and one of these is the level, that is, how strict somebody is. tau is the value of a grid
under which the groups' own answers were the most probable, each foreseen from the others' answers
and from the group's earlier ones (empirical Bayes). Where groups do not differ it is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from p2l_model.types import FloatArray

_TAUS: Final = (0.25, 0.5, 1.0, 2.0)  # log-odds
# By how much the answers must be more probable before groups are taken to differ: e^2 to 1.
_PLAIN: Final = 2.0
_TINY: Final = 1e-9


def correlation(values: FloatArray) -> FloatArray:
    """The correlation (M, M) of M models over P prompts. values (P, M): what is said of them; a
    model of which the same is always said correlates with no other."""
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    standard = centred / np.where(spread > _TINY, spread, 1.0)
    found: FloatArray = standard.T @ standard / max(len(values), 1)
    np.fill_diagonal(found, 1.0)
    return found


def covariance(tau: float, together: FloatArray) -> FloatArray:
    """That of a group's differences (M, M). together (M, M): as `correlation` returns it."""
    return tau**2 * (np.eye(len(together)) + together) / 2


def most_probable(evidence: Callable[[float], float]) -> float:
    """The tau of the grid under which the groups' answers were the most probable. evidence: the
    logarithm of that probability, by tau."""
    alike = evidence(0.0)
    best, highest = 0.0, alike + _PLAIN
    for tau in _TAUS:
        found = evidence(tau)
        if found > highest:
            best, highest = tau, found
    return best
