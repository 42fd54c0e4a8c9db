"""Bounds on a mean that hold at every time at once, so that one may look after every answer.

The predictable plug-in empirical Bernstein confidence sequence of Waudby-Smith and Ramdas
(Estimating means of bounded random variables by betting, JRSS B 86, 2024, theorem 2), for
observations in [0, 1] whose conditional mean is constant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# The largest bet: the paper recommends 1/2 or 3/4.
_MOST: Final = 0.5


@dataclass(frozen=True, slots=True)
class Bounds:
    """n observations, their mean (0.5 without any), and bounds on the true mean."""

    n: int
    mean: float
    low: float
    high: float


def mean_bounds(values: Iterable[float], error: float) -> Bounds:
    """Bounds that all hold together, after every observation, with probability 1 - error. values:
    in [0, 1], in the order in which they came. Raises ValueError for any other."""
    log_error = math.log(2.0 / error)
    n, total, spread = 0, 0.0, 0.25
    bets = weighted = penalty = 0.0
    low, high = 0.0, 1.0
    for value in values:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"an observation must be in [0, 1], not {value}")
        n += 1
        # What is known before this observation decides how much is bet on it.
        variance = spread / n
        before = (0.5 + total) / n
        bet = min(_MOST, math.sqrt(2.0 * log_error / (variance * n * math.log1p(n))))
        total += value
        after = (0.5 + total) / (n + 1)
        spread += (value - after) ** 2
        bets += bet
        weighted += bet * value
        # 4 (x - mean)^2 psi(bet), where psi(bet) = (-log(1 - bet) - bet) / 4
        penalty += (value - before) ** 2 * (-math.log1p(-bet) - bet)
        centre, width = weighted / bets, (log_error + penalty) / bets
        low, high = max(low, centre - width), min(high, centre + width)
    return Bounds(n, 0.5 if n == 0 else total / n, low, high)
