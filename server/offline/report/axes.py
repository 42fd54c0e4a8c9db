"""Axes with round numbers: dollars, in equal steps or in equal ratios, and points of quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

# From this ratio of the dearest to the cheapest on, equal ratios have equal widths.
_RATIO: Final = 12.0
_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_FREE: Final = 3.0


@dataclass(frozen=True, slots=True)
class Axis:
    """From low at pixel `start` to high at pixel `end`. floor: where nothing is drawn on a
    logarithmic axis, which has no zero."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    floor: float = 0.0

    def pixel(self, value: float) -> float:
        """Where a value is drawn."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = np.log(low), np.log(high), np.log(max(value, self.floor))
        return float(self.start + (at - low) / (high - low) * (self.end - self.start))

    def value(self, pixel: float) -> float:
        """What is drawn there."""
        share = (pixel - self.start) / (self.end - self.start)
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)

    def ticks(self, most: int) -> list[float]:
        """At most that many round values; at least two where the axis has room for them."""
        return self._log_ticks(most) if self.log else self._even_ticks(most)

    def _even_ticks(self, most: int) -> list[float]:
        span = self.high - self.low
        power = 10.0 ** np.floor(np.log10(span / most))
        step = next(float(s * power) for s in _STEPS if span / (s * power) <= most)
        first = np.ceil(self.low / step - 1e-9) * step
        return [float(tick) for tick in np.arange(first, self.high + 1e-9 * span, step)]

    def _log_ticks(self, most: int) -> list[float]:
        powers = range(int(np.floor(np.log10(self.low))), int(np.ceil(np.log10(self.high))) + 1)
        for steps in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
            ticks = [10.0**power * step for power in powers for step in steps]
            inside = [tick for tick in ticks if self.low <= tick <= self.high]
            if len(inside) <= most:
                return inside
        return inside[:: -(-len(inside) // most)]


def cost_axis(costs: Sequence[float], start: float, end: float) -> Axis:
    """An axis for USD. Free models stand at its left end."""
    positive = [cost for cost in costs if cost > 0] or [1.0]
    least, most = min(positive), max(positive)
    if most / least < _RATIO:
        return Axis(0.0, most * 1.08, start, end)
    floor = least / _FREE if min(costs) == 0 else least
    return Axis(floor / 1.25, most * 1.25, start, end, log=True, floor=floor)


def score_axis(scores: Sequence[float], start: float, end: float) -> Axis:
    """An axis for points of quality, with room at both ends."""
    low, high = min(scores), max(scores)
    room = 0.06 * (high - low) if high > low else 1.0
    return Axis(low - room, high + room, start, end)
