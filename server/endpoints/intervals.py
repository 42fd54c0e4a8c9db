"""How certain the coefficients of a decision's models are, and what they rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from router.choice import Decision
from server.gateway.local_layers import Used

# Half the width of an 80% interval, in standard deviations.
_EIGHTY: Final = 1.2816
_OWN: Final = "the leaderboard's own column"


def certainty(decision: Decision, used: Used | None) -> dict[str, Mapping[str, Any]]:
    """By catalogue name: the standard deviation of the coefficient and its 80% interval, None where
    it is not known, and what it rests on. used: what of this gateway's answers it was decided
    by."""
    shifts = decision.request.coefficient_shifts
    found: dict[str, Mapping[str, Any]] = {}
    for candidate in decision.candidates:
        card = candidate.card
        learnt = shifts.get(card.name)
        sd = card.coefficient_sd if learnt is None else learnt[1]
        rests_on = card.rests_on or _OWN
        if learnt is not None and used is not None:
            rests_on += f", and {used.n_answers} graded or compared answers here ({used.scope})"
        found[card.name] = {**interval(candidate.coefficient, sd), "rests_on": rests_on}
    return found


def interval(coefficient: float, sd: float) -> dict[str, Any]:
    """The standard deviation and the 80% interval of a coefficient; None where sd is 0, which means
    that it is not known."""
    if sd == 0.0 or not math.isfinite(coefficient):
        return {"sd": None, "interval80": None}
    return {"sd": sd, "interval80": [coefficient - _EIGHTY * sd, coefficient + _EIGHTY * sd]}
