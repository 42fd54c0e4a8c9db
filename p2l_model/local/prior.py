"""What is believed before any local answer, as a mixture of Gaussians.

The value of model m on prompt z, in log-odds that its answer is good, is

    level + slope * strength_m + b * difficulty_z + c * deviation_mz + effect_m + head_m . axes_z
          + (level_s + slope_s * strength_m of the judge or source s)

strength: its place by public facts. difficulty, deviation, axes: what the checkpoint says of the
prompt (`terms`). The head is the model's own. How far models lie apart in new traffic, and whether
the checkpoint's difficulty means anything there, differs from source to source; so the prior is a
mixture over both, and the answers choose. Each component starts with the same weight. Where the
checkpoint's view counts, what it says of one model more than of others is believed as facts are,
until answers say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np

from p2l_model.types import FloatArray

# Per component: log-odds for one unit of strength, and the spread of models' own effects.
_SCALES: Final = ((0.12, 0.08), (0.25, 0.2), (0.45, 0.35), (0.8, 0.6), (0.45, 0.12), (0.2, 0.5))
# Standard deviation of b, where the checkpoint's view of the prompt counts; c where it does, and
# the numbers of a head, each for one standard deviation of the prompts along its axis.
_DIFFICULTIES: Final = (0.0, 0.5)
_DEVIATION: Final = 0.3
_HEAD: Final = 0.08
# A known value may not be exactly so, or covariances could not be inverted.
_EXACT: Final = 1e-6
# Over eleven sets of graded answers the level of their models has a deviation of 1.0 about this
# mean, 0.75 to 0.99 where one is left out; a little more is kept for sources that lie farther off.
_LEVEL: Final = (0.6, 1.15)
_SLOPE_SPREAD: Final = 0.5
_SOURCE_LEVEL: Final = 1.0
_SOURCE_SLOPE: Final = 0.15
# In the order of the vector: level, slope, b, c; then models, each with its head, and sources.
LEVEL, SLOPE, DIFFICULTY, DEVIATION = range(4)
N_SHARED: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """scale: log-odds for one unit of strength. spread, head: standard deviations of a model's own
    effect, and of each number of its head. mean, variance (4,): of the numbers that all models
    share."""

    scale: float
    spread: float
    head: float
    mean: FloatArray
    variance: FloatArray

    def source(self) -> FloatArray:
        """The variances (2,) of the level and the slope of a source."""
        return np.array([_SOURCE_LEVEL, _SOURCE_SLOPE]) ** 2

    def effects(self, uncertain: FloatArray) -> FloatArray:
        """The covariance of effects. uncertain: that of the strengths, (M, M)."""
        own = self.spread**2 * np.eye(len(uncertain))
        covariance: FloatArray = self.scale**2 * uncertain + own
        return covariance


def components(n_axes: int = 0) -> Sequence[Component]:
    """The components of the mixture. With axes, one more for each that believes the checkpoint: it
    has heads, and its fellow has none."""
    plain = tuple(_component(*pair, b) for pair, b in product(_SCALES, _DIFFICULTIES))
    if n_axes == 0:
        return plain
    return (*plain, *(replace(one, head=_HEAD) for one in plain if one.mean[DEVIATION] > 0))


def settled() -> Component:
    """Believes a checkpoint as it is, for models whose values it knows: these are the deviations.
    Only heads are to be learnt, and levels of sources."""
    return Component(1.0, _EXACT, 1.0, np.array([0.0, 1.0, 0.0, 1.0]), np.zeros(N_SHARED))


def _component(scale: float, spread: float, difficulty: float) -> Component:
    """difficulty: standard deviation of b; 0 turns b and c off."""
    counts = float(difficulty > 0)
    # A unit of the checkpoint's log-odds is worth what a unit of strength is.
    mean = np.array([_LEVEL[0], scale, 0.0, counts * scale])
    sd = np.array([_LEVEL[1], _SLOPE_SPREAD * scale, difficulty, counts * _DEVIATION])
    return Component(scale, spread, 0.0, mean, sd**2)
