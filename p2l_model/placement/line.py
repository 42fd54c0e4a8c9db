"""Strengths on the scale of a leaderboard: coefficient = intercept + slope * strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.placement.place import Place, Placer

# Before any model is seen: one unit of strength is about one of log-odds. As many models as this
# prior is worth are needed before a leaderboard's own slope counts for more than it does.
_SLOPE: Final = 1.0
_PRIOR_MODELS: Final = 5.0
_LEAST_SLOPE: Final = 0.1
_SPREAD: Final = 0.5


@dataclass(frozen=True, slots=True)
class Line:
    """intercept, slope: of the coefficients. spread: standard deviation of the coefficients of
    models about the line, besides the uncertainty of their places."""

    intercept: float
    slope: float
    spread: float

    def coefficient(self, place: Place) -> tuple[float, float]:
        """The mean and the standard deviation of a placed model's coefficient."""
        sd = float(np.hypot(self.slope * place.sd, self.spread))
        return self.intercept + self.slope * place.mean, sd


def fit_line(names: Sequence[str], coefficients: Sequence[float], placer: Placer) -> Line:
    """Fits the line to a leaderboard's models, each weighted by how certain its place is.

    names: M models of the leaderboard. coefficients (M,): for no prompt in particular. Models
    without any published result do not count, unless none has one. The slope is shrunk towards one
    unit of log-odds for one of strength, and is positive.
    """
    if len(names) == 0:
        return Line(0.0, _SLOPE, _SPREAD)
    rows = [row for row in zip(names, coefficients, strict=True) if placer.has_results(row[0])]
    rows = rows or list(zip(names, coefficients, strict=True))
    places = [placer.place(name) for name, _ in rows]
    x, y = np.array([place.mean for place in places]), np.array([one for _, one in rows], float)
    variance = np.array([place.sd for place in places]) ** 2
    weight = 1.0 / (_SPREAD**2 + variance)
    centre_x, centre_y = np.average(x, weights=weight), np.average(y, weights=weight)
    apart = x - centre_x
    prior = _PRIOR_MODELS * float(np.median(weight))
    slope = float((weight * apart) @ (y - centre_y) + prior * _SLOPE)
    slope = max(slope / float((weight * apart) @ apart + prior), _LEAST_SLOPE)
    rest = y - centre_y - slope * apart
    beyond = float(np.average(rest**2 - slope**2 * variance, weights=weight))
    n = len(rows)
    spread = ((n * max(beyond, 0.0) + _PRIOR_MODELS * _SPREAD**2) / (n + _PRIOR_MODELS)) ** 0.5
    return Line(float(centre_y - slope * centre_x), slope, spread)
