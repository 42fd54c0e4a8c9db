"""Suggests what a win is worth and a budget, from what the models found cost on a usual request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from router.hull import solve
from server.setup.found import FoundModel

# Round values of a win, the largest first.
_VALUES: Final = tuple(
    Decimal(digit).scaleb(power) for power in range(1, -7, -1) for digit in (5, 2, 1)
)
# A rule costs at most this share of what always taking the best model costs.
_BALANCED: Final = Decimal("0.34")
_THRIFTY: Final = Decimal("0.1")
_USUAL_REQUESTS_A_DAY: Final = 1_000
_LEAST_A_DAY: Final = Decimal(5)
# With less money a window begins by lowering the suggested worth of a win: its own price is a win
# for every hundredth of its budget (router.pacing).
_WORTHS_A_DAY: Final = 400


@dataclass(frozen=True, slots=True)
class Rule:
    """A value of a win, and what it chooses on a usual request. usd_per_win: None: the best model
    is always taken."""

    usd_per_win: Decimal | None
    model: str
    win_rate: float
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Suggestion:
    """best: what happens without a budget and a value of a win. balanced, thrifty: None where no
    value of a win chooses a model that costs so much less. daily_usd: a budget for all requests of
    24 hours."""

    best: Rule
    balanced: Rule | None
    thrifty: Rule | None
    daily_usd: Decimal


def suggest(models: Sequence[FoundModel]) -> Suggestion | None:
    """A suggestion; None where no model has both a win rate and a price.

    balanced: the largest round value of a win at which a usual request costs at most 34% of what
    the best model costs; thrifty: at most 10%. A larger value always chooses a model that is at
    least as good, so each rule is the best one within its cost.
    """
    priced = _priced(models)
    if not priced:
        return None
    best = _rule(priced, None)
    balanced = thrifty = None
    if best.cost_usd > 0:
        balanced = _within(priced, best.cost_usd * _BALANCED)
        thrifty = _within(priced, best.cost_usd * _THRIFTY)
    if balanced is not None and thrifty is not None and balanced.model == thrifty.model:
        thrifty = None
    usual = best if balanced is None else balanced
    worth = usual.usd_per_win or Decimal(0)
    least = max(_LEAST_A_DAY, worth * _WORTHS_A_DAY, usual.cost_usd * _USUAL_REQUESTS_A_DAY)
    daily = _rounded_up(least)
    return Suggestion(best, balanced, thrifty, daily)


def rule_for(models: Sequence[FoundModel], usd_per_win: Decimal | None) -> Rule | None:
    """What a value of a win chooses; None where no model has both a win rate and a price."""
    priced = _priced(models)
    return _rule(priced, usd_per_win) if priced else None


def _priced(models: Sequence[FoundModel]) -> list[FoundModel]:
    return [m for m in models if m.win_rate is not None and m.usual_usd is not None]


def _within(priced: Sequence[FoundModel], most_usd: Decimal) -> Rule | None:
    for value in _VALUES:
        rule = _rule(priced, value)
        if rule.cost_usd <= most_usd:
            return rule
    return None


def _rule(priced: Sequence[FoundModel], usd_per_win: Decimal | None) -> Rule:
    costs = [model.usual_usd or Decimal(0) for model in priced]
    rates = [model.win_rate or 0.0 for model in priced]
    mix = solve(costs, rates, None, usd_per_win)
    chosen = mix.parts[0][0]
    return Rule(usd_per_win, priced[chosen].card.name, rates[chosen], costs[chosen])


def _rounded_up(amount: Decimal) -> Decimal:
    """The next amount of 1, 2 or 5 times a power of ten."""
    if amount <= 0:
        return Decimal(0)
    power = math.floor(math.log10(amount)) - 1
    steps = (Decimal(d).scaleb(power + k) for k in range(3) for d in (1, 2, 5))
    return next(step for step in steps if step >= amount)
