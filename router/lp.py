"""Theorem 1's linear program, solved exactly on the upper concave hull.

    maximise  pi' v   subject to  c' pi <= C,  sum pi = 1,  pi >= 0

One budget row: some optimum mixes at most two models, neighbours on the hull of the points
(cost, value). Sorting and one scan find it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Final

import numpy as np

from p2l_model.types import FloatArray

# Probabilities of the dearer model are rounded down at this precision: never over the budget.
_DOWN: Final = Context(prec=40, rounding=ROUND_FLOOR)


class InfeasibleError(ValueError):
    """No model costs as little as the budget. cheapest: the index of the one that comes nearest."""

    def __init__(self, cheapest: int) -> None:
        super().__init__("the budget is below the cheapest cost")
        self.cheapest = cheapest


@dataclass(frozen=True, slots=True)
class Mix:
    """An optimum. parts: (index, probability), one or two, the probabilities summing to 1.

    value: its expected value. cost_usd: its expected cost, never above the budget.
    shadow_price: what one more dollar would add to the value; 0 where the budget does not bind.
    """

    parts: tuple[tuple[int, Decimal], ...]
    value: float
    cost_usd: Decimal
    shadow_price: float


def solve(costs: Sequence[Decimal], values: FloatArray, budget: Decimal | None) -> Mix:
    """The optimum over models with costs (USD, M of them) and values (M,) under the budget (USD).

    Ties: equal value, the cheaper; equal cost, the better; else the first by index.
    Raises InfeasibleError, ValueError for no models or values that are not finite.
    """
    if len(costs) == 0 or not np.all(np.isfinite(values)):
        raise ValueError("values must be finite and at least one")
    ranked = values.tolist()
    best = max(range(len(costs)), key=lambda k: (ranked[k], -costs[k], -k))
    if budget is None or costs[best] <= budget:
        return _pure(best, costs, ranked, 0.0)
    hull = _hull(costs, ranked)
    if costs[hull[0]] > budget:
        raise InfeasibleError(hull[0])
    upper = next(k for k, index in enumerate(hull) if costs[index] > budget)
    return _mixed(hull[upper - 1], hull[upper], costs, ranked, budget)


def _hull(costs: Sequence[Decimal], values: list[float]) -> list[int]:
    """Indices on the upper concave hull, costs and values strictly rising."""
    order = sorted(range(len(costs)), key=lambda k: (costs[k], -values[k], k))
    cost = [float(amount) for amount in costs]
    hull: list[int] = []
    for k in order:
        if hull and values[k] <= values[hull[-1]]:
            continue  # dearer and no better
        while len(hull) > 1 and _below(hull[-2], hull[-1], k, cost, values):
            hull.pop()
        hull.append(k)
    return hull


def _below(a: int, b: int, c: int, cost: list[float], values: list[float]) -> bool:
    """Whether b lies on or below the line from a to c."""
    rise_ab = (values[b] - values[a]) * (cost[c] - cost[a])
    return rise_ab <= (values[c] - values[a]) * (cost[b] - cost[a])


def _pure(k: int, costs: Sequence[Decimal], values: list[float], shadow_price: float) -> Mix:
    return Mix(((k, Decimal(1)),), values[k], costs[k], shadow_price)


def _mixed(
    low: int, high: int, costs: Sequence[Decimal], values: list[float], budget: Decimal
) -> Mix:
    gap = costs[high] - costs[low]
    slope = (values[high] - values[low]) / float(gap)
    share = _DOWN.divide(budget - costs[low], gap)
    if share == 0:
        return _pure(low, costs, values, slope)
    value = values[low] + float(share) * (values[high] - values[low])
    cost_usd = costs[low] + share * gap
    parts = ((low, 1 - share), (high, share))
    return Mix(parts, value, min(cost_usd, budget), slope)
