"""Fits loss = floor + scale * n ** -exponent, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.types import FloatArray

_EXPONENTS: Final = np.linspace(0.02, 2.0, 199)
_RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """loss(n) = floor + scale * n ** -exponent. The intervals are 95%."""

    floor: float
    scale: float
    exponent: float
    floor_ci95: tuple[float, float]
    exponent_ci95: tuple[float, float]

    def at(self, n: FloatArray) -> FloatArray:
        """The loss at sizes n."""
        return self.floor + self.scale * n**-self.exponent


def fit_power_law(sizes: Sequence[float], losses: Sequence[Sequence[float]], seed: int) -> PowerLaw:
    """Fits the curve by least squares; the bootstrap resamples repetitions within a size.

    losses: for each size one loss per repetition. For each exponent of a grid, floor and scale are
    a linear problem. Neither may be negative.
    """
    n = np.asarray(sizes, dtype=np.float64)
    means = np.array([np.mean(repeated) for repeated in losses])
    floor, scale, exponent = _least_squares(n, means)
    chance = np.random.default_rng(seed)
    drawn = np.array([
        _least_squares(n, np.array([chance.choice(r, size=len(r)).mean() for r in losses]))
        for _ in range(_RESAMPLES)
    ])  # fmt: skip
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return PowerLaw(
        floor,
        scale,
        exponent,
        (float(low[0]), float(high[0])),
        (float(low[2]), float(high[2])),
    )


def _least_squares(n: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    """(floor, scale, exponent) for one curve."""
    x = n[None, :] ** -_EXPONENTS[:, None]  # (E, S)
    centred = x - x.mean(axis=1, keepdims=True)
    scale = (centred * (y - y.mean())).sum(axis=1) / (centred**2).sum(axis=1)
    scale = np.maximum(scale, 0.0)
    floor = y.mean() - scale * x.mean(axis=1)
    # Where the floor would be negative: the nearest curve with a floor of zero.
    through_zero = np.maximum((x * y).sum(axis=1) / (x**2).sum(axis=1), 0.0)
    scale, floor = np.where(floor < 0, through_zero, scale), np.maximum(floor, 0.0)
    errors = ((floor[:, None] + scale[:, None] * x - y) ** 2).sum(axis=1)
    best = int(np.argmin(errors))
    return float(floor[best]), float(scale[best]), float(_EXPONENTS[best])
