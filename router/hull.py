"""Theorem 1's linear program, solved exactly on the upper concave hull.

    maximise  pi' (v - lambda c)   subject to  c' pi <= C,  sum pi = 1,  pi >= 0

lambda = 1 / usd_per_win; the paper has lambda = 0. With a single budget row some optimum mixes at
most two models, which are neighbours on the hull of the points (cost, value). Sorting and one scan
find them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any, Final

from p2l_model.types import FloatArray
from router.record import record

# The probability of the more expensive model is rounded down to this step, so that the mix is never
# over budget and one minus the probability is exact.
_STEP: Final = Decimal("1E-20")
_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR)


class InfeasibleError(ValueError):
    """Every model costs more than the budget. cheapest: the index of the cheapest model."""

    def __init__(self, cheapest: int) -> None:
        super().__init__("the budget is below the cheapest cost")
        self.cheapest = cheapest


@record(frozen=True, slots=True)
class Mix:
    """An optimal mix. parts: (index, probability) pairs; the probabilities sum to 1.

    With a budget alone there are one or two parts. value: the expected value, without any charge
    for cost. cost_usd: the expected cost, never above the budget. shadow_price: what one more
    dollar of budget would add to the objective; 0 where the budget does not bind.
    """

    parts: tuple[tuple[int, Decimal], ...]
    value: float
    cost_usd: Decimal
    shadow_price: float


def solve(
    costs: Sequence[Decimal],
    values: FloatArray | list[float],
    budget: Decimal | None,
    usd_per_win: Decimal | None = None,
) -> Mix:
    """Returns the optimum over M models with costs in USD and values (M,), under a budget in USD.

    usd_per_win: what a value of 1 is worth in USD, above 0; None: cost does not count below the
    budget. Of two models with equal value the cheaper one wins, with equal cost the better one,
    otherwise the first one. Raises InfeasibleError; ValueError without models or for values that
    are not finite.
    """
    ranked: list[float] = values if isinstance(values, list) else values.tolist()
    if len(ranked) == 0 or not all(map(math.isfinite, ranked)):
        raise ValueError("values must be finite and at least one")
    cost = [float(amount) for amount in costs]
    worth = ranked
    if usd_per_win is not None:
        price = 1.0 / float(usd_per_win)
        worth = [value - price * usd for value, usd in zip(ranked, cost, strict=True)]
    stairs = _stairs(costs, cost, worth)
    if budget is None or costs[stairs[-1]] <= budget:
        return _pure(stairs[-1], costs, ranked, 0.0)
    if costs[stairs[0]] > budget:
        raise InfeasibleError(stairs[0])
    hull = _hull(stairs, cost, worth)
    upper = next(k for k, index in enumerate(hull) if costs[index] > budget)
    low, high = hull[upper - 1], hull[upper]
    slope = (worth[high] - worth[low]) / float(costs[high] - costs[low])
    return _mixed(low, high, costs, ranked, budget, slope)


def hull_of(cost: list[float], value: list[float]) -> list[int]:
    """Returns the indices of the points on the upper concave hull, by rising cost: the best
    mixes."""
    return _hull(_exact_stairs(cost, value), cost, value)


def _stairs(costs: Sequence[Decimal], cost: list[float], worth: list[float]) -> list[int]:
    """Indices of the models that are better than all cheaper ones, by rising cost."""
    stairs: list[int] = []
    best, last = -math.inf, math.nan
    for k in sorted(range(len(cost)), key=cost.__getitem__):
        if cost[k] == last:
            if costs[k] != costs[stairs[-1]]:  # equal as floats only
                return _exact_stairs(costs, worth)
            if worth[k] > best:
                stairs[-1], best = k, worth[k]
        elif worth[k] > best:
            stairs.append(k)
            best, last = worth[k], cost[k]
    return stairs


def _exact_stairs(costs: Sequence[Any], worth: list[float]) -> list[int]:
    stairs: list[int] = []
    for k in sorted(range(len(costs)), key=lambda k: (costs[k], -worth[k], k)):
        if not stairs or worth[k] > worth[stairs[-1]]:
            stairs.append(k)
    return stairs


def _hull(stairs: list[int], cost: list[float], worth: list[float]) -> list[int]:
    """The indices among the stairs that lie on the upper concave hull."""
    hull: list[int] = []
    for k in stairs:
        while len(hull) > 1 and _below(hull[-2], hull[-1], k, cost, worth):
            hull.pop()
        hull.append(k)
    return hull


def _below(a: int, b: int, c: int, x: list[float], y: list[float]) -> bool:
    """Whether b lies on or below the line from a to c."""
    return (y[b] - y[a]) * (x[c] - x[a]) <= (y[c] - y[a]) * (x[b] - x[a])


def _pure(k: int, costs: Sequence[Decimal], values: list[float], shadow_price: float) -> Mix:
    return Mix(((k, Decimal(1)),), values[k], costs[k], shadow_price)


def _mixed(
    low: int,
    high: int,
    costs: Sequence[Decimal],
    values: list[float],
    budget: Decimal,
    slope: float,
) -> Mix:
    gap = costs[high] - costs[low]
    share = _DOWN.quantize(_DOWN.divide(budget - costs[low], gap), _STEP)
    if share == 0:
        return _pure(low, costs, values, slope)
    value = values[low] + float(share) * (values[high] - values[low])
    cost_usd = costs[low] + share * gap
    parts = ((low, 1 - share), (high, share))
    return Mix(parts, value, min(cost_usd, budget), slope)
