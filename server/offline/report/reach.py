"""What a score costs: a mix of two settings is a straight line in dollars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2l_model.types import FloatArray
from server.offline.simulate.curves import SAME


class Mix(NamedTuple):
    """Of all requests, the share `share` takes the setting `high`, and the others take `low`.
    cost_usd, score: of a request, on average."""

    cost_usd: float
    score: float
    low: int
    high: int
    share: float


class Steps(NamedTuple):
    """A curve that only rises. setting (K,): indices by rising cost; cost, score (K,): of each."""

    setting: NDArray[np.intp]
    cost: FloatArray
    score: FloatArray


def steps(cost: FloatArray, score: FloatArray) -> Steps:
    """The settings' scores (J,) by cost (J,), made to rise: where a dearer setting scores less than
    cheaper ones, all of them count with their mean, and the cheapest stands for them (isotonic
    regression by pooling adjacent violators, Ayer and others, 1955). The best of many settings that
    differ by chance would promise too much."""
    order = np.argsort(cost, kind="stable")
    firsts: list[int] = []
    means: list[float] = []
    sizes: list[int] = []
    for place, value in enumerate(score[order].tolist()):
        firsts.append(place)
        means.append(value)
        sizes.append(1)
        while len(means) > 1 and means[-2] >= means[-1] - SAME:
            last, size = means.pop(), sizes.pop()
            firsts.pop()
            total = sizes[-1] + size
            means[-1] = (means[-1] * sizes[-1] + last * size) / total
            sizes[-1] = total
    setting = order[firsts]
    return Steps(setting, cost[setting], np.array(means))


def reach(cost: FloatArray, score: FloatArray, wanted: float) -> Mix | None:
    """The cheapest mix of neighbouring steps that scores `wanted` on average; None where none does.
    cost (J,) in USD, score (J,)."""
    found = steps(cost, score)
    place = int(np.searchsorted(found.score, wanted - SAME))
    if place == len(found.score):
        return None
    high = int(found.setting[place])
    if place == 0:
        return Mix(float(found.cost[0]), float(found.score[0]), high, high, 1.0)
    below, rise = found.score[place - 1], found.score[place] - found.score[place - 1]
    share = min(1.0, float((wanted - below) / rise))
    usd = float(found.cost[place - 1] + share * (found.cost[place] - found.cost[place - 1]))
    return Mix(usd, wanted, int(found.setting[place - 1]), high, share)


def costs_of(cost: FloatArray, score: FloatArray, wanted: FloatArray) -> FloatArray:
    """The cost (K,) of each wanted score (K,), as `reach` has it; infinite where none does."""
    found = steps(cost, score)
    reached = wanted <= found.score[-1] + SAME
    costs: FloatArray = np.where(reached, np.interp(wanted, found.score, found.cost), np.inf)
    return costs
