"""What a score costs: a mix of two settings is a straight line in dollars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2l_model.types import FloatArray


class Mix(NamedTuple):
    """Of all requests, the share `share` takes the setting `high`, and the others take `low`.
    cost_usd: of a request, on average."""

    cost_usd: float
    low: int
    high: int
    share: float


def records(cost: FloatArray, score: FloatArray) -> list[int]:
    """The settings, by rising cost (J,), each of which scores more than all that cost less."""
    order = np.argsort(cost, kind="stable")
    best = np.maximum.accumulate(score[order])
    rising = np.concatenate([[True], best[1:] > best[:-1]])
    return [int(index) for index in order[rising]]


def reach(cost: FloatArray, score: FloatArray, wanted: float) -> Mix | None:
    """The cheapest mix of neighbouring records that scores `wanted` on average; None where none
    does. cost (J,) in USD, score (J,)."""
    found = records(cost, score)
    high = next((index for index in found if score[index] >= wanted), None)
    if high is None:
        return None
    place = found.index(high)
    if place == 0:
        return Mix(float(cost[high]), high, high, 1.0)
    low = found[place - 1]
    share = float((wanted - score[low]) / (score[high] - score[low]))
    usd = float(cost[low] + share * (cost[high] - cost[low]))
    return Mix(usd, low, high, share)


def costs_of(cost: FloatArray, score: FloatArray, wanted: FloatArray) -> FloatArray:
    """The cost (K,) of each wanted score (K,), as `reach` has it; infinite where none does."""
    found = records(cost, score)
    costs: FloatArray = np.interp(wanted, score[found], cost[found], right=np.inf)
    return costs
