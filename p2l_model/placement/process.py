"""Strengths from facts: a Gaussian process over models, observed through published results.

A source's factor y of a model is  level + slope * strength + noise,  where the level of each source
is unknown (a wide Gaussian), and its slope and noise are fitted. Strengths have mean 0 and the
covariance of `kernel`. Scales, slopes and noises maximise the marginal likelihood with weak priors
on their logarithms (Rasmussen and Williams, 2006, section 5.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from p2l_model.placement.kernel import PARTS, Calendar, Item, covariance, parts, table
from p2l_model.types import FloatArray

_LEVEL_VARIANCE: Final = 4.0
_TYPICAL: Final = 0.3  # scales and noises, before any result is seen
_SCALE_SPREAD: Final = 2.0
_SLOPE_SPREAD: Final = 0.3
_NOISE_SPREAD: Final = 1.0
_STEPS: Final = 40


class Observation(NamedTuple):
    """The factor of one model at one source, with its variance. item: its index."""

    source: str
    item: int
    value: float
    variance: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """scales: of the kernel's parts. level, slope, noise: of each source; noise is a standard
    deviation."""

    scales: dict[str, float]
    level: dict[str, float]
    slope: dict[str, float]
    noise: dict[str, float]


class Strengths:
    """The strengths of any models, given those that were observed.

    items: N models with results. value, variance (N,): of each one's strength by its results alone
    (see `combined`). scales: of the kernel's parts.
    """

    def __init__(
        self,
        items: Sequence[Item],
        value: FloatArray,
        variance: FloatArray,
        scales: Mapping[str, float],
    ) -> None:
        self._scales = scales
        self._calendar = Calendar(items)
        self._table = table(items, self._calendar)
        prior = covariance(self._table, self._table, scales)
        self._inverse = np.linalg.inv(prior + np.diag(variance))
        self._weights = self._inverse @ value

    def of(self, items: Sequence[Item]) -> tuple[FloatArray, FloatArray]:
        """Means (K,) and the covariance (K, K) of the strengths of K items."""
        wanted = table(items, self._calendar)
        across = covariance(wanted, self._table, self._scales)
        spread = covariance(wanted, wanted, self._scales) - across @ self._inverse @ across.T
        return across @ self._weights, (spread + spread.T) / 2


def combined(observations: Sequence[Observation], fitted: Fitted) -> dict[int, tuple[float, float]]:
    """Each observed item's strength by its results alone: the mean of what the sources say, by
    precision, and its variance."""
    sums: dict[int, list[float]] = {}
    for one in observations:
        slope = fitted.slope[one.source]
        variance = (one.variance + fitted.noise[one.source] ** 2) / slope**2
        total = sums.setdefault(one.item, [0.0, 0.0])
        total[0] += (one.value - fitted.level[one.source]) / slope / variance
        total[1] += 1.0 / variance
    return {item: (total / weight, 1.0 / weight) for item, (total, weight) in sums.items()}


def fit(
    items: Sequence[Item], observations: Sequence[Observation], using: Sequence[str] = PARTS
) -> Fitted:
    """Fits the scales of the kernel, and level, slope and noise of each source. using: the parts of
    the kernel that may count; the others have a scale of 0."""
    from scipy.optimize import minimize  # only for the fit: placing needs numpy alone

    problem = _Problem(items, observations, using)
    found = minimize(
        problem.loss, problem.start(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}
    )
    return problem.fitted(found.x)


class _Problem:
    """The marginal likelihood of the observations. Its parameters are logarithms: P scales, S
    slopes, S noises."""

    def __init__(
        self, items: Sequence[Item], observations: Sequence[Observation], using: Sequence[str]
    ) -> None:
        self._using = tuple(name for name in PARTS if name in using)
        self.sources = sorted({one.source for one in observations})
        at = np.array([one.item for one in observations])
        self._y = np.array([one.value for one in observations])
        self._variance = np.array([one.variance for one in observations])
        self._source = np.array([self.sources.index(one.source) for one in observations])
        rows = table(items, Calendar(items))
        whole = parts(rows, rows)
        self._parts = [whole[name][np.ix_(at, at)] for name in self._using]
        self._same = (self._source[:, None] == self._source[None, :]).astype(float)

    def start(self) -> FloatArray:
        """The parameters at the means of their priors."""
        n = len(self.sources)
        typical = np.log(_TYPICAL)
        return np.concatenate(
            [np.full(len(self._using), typical), np.zeros(n), np.full(n, typical)]
        )

    def fitted(self, p: FloatArray) -> Fitted:
        """The parameters by name, with the posterior means of the levels."""
        scales, log_slopes, noises = self._split(p)
        whole = self._covariance(p)[2]
        weights = np.linalg.solve(whole, self._y)
        level = [
            float(_LEVEL_VARIANCE * weights[self._source == s].sum()) for s in range(noises.size)
        ]
        return Fitted(
            dict.fromkeys(PARTS, 0.0) | dict(zip(self._using, scales.tolist(), strict=True)),
            dict(zip(self.sources, level, strict=True)),
            dict(zip(self.sources, np.exp(log_slopes).tolist(), strict=True)),
            dict(zip(self.sources, noises.tolist(), strict=True)),
        )

    def loss(self, p: FloatArray) -> tuple[float, FloatArray]:
        """The negative log marginal likelihood with the priors, and its gradient."""
        scales, _, noises = self._split(p)
        prior, slope, whole = self._covariance(p)
        root = np.linalg.cholesky(whole)
        inverse = np.linalg.inv(whole)
        weights = inverse @ self._y
        value = 0.5 * float(self._y @ weights) + float(np.log(np.diag(root)).sum())
        # the derivative by any entry of the covariance is half of this
        slack = inverse - np.outer(weights, weights)
        scaled = slack * np.outer(slope, slope)
        gradient = [
            s * s * float((scaled * part).sum())
            for s, part in zip(scales, self._parts, strict=True)
        ]
        by_row = (scaled * prior).sum(axis=1)
        diagonal = np.diag(slack)
        rows = [self._source == s for s in range(noises.size)]
        gradient += [float(by_row[row].sum()) for row in rows]
        gradient += [float(diagonal[row].sum()) * n**2 for row, n in zip(rows, noises, strict=True)]
        apart, spread = p - self.start(), self._spreads()
        value += 0.5 * float(((apart / spread) ** 2).sum())
        return value, np.array(gradient) + apart / spread**2

    def _split(self, p: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        first, last = len(self._using), len(self._using) + len(self.sources)
        return np.exp(p[:first]), p[first:last], np.exp(p[last:])

    def _covariance(self, p: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The covariance of strengths, the slope of each observation, the covariance of y."""
        scales, log_slopes, noises = self._split(p)
        prior = np.zeros_like(self._same)
        for scale, part in zip(scales, self._parts, strict=True):
            prior += scale**2 * part
        slope = np.exp(log_slopes)[self._source]
        noise = np.diag(self._variance + noises[self._source] ** 2)
        return prior, slope, prior * np.outer(slope, slope) + noise + _LEVEL_VARIANCE * self._same

    def _spreads(self) -> FloatArray:
        n = len(self.sources)
        return np.concatenate(
            [
                np.full(len(self._using), _SCALE_SPREAD),
                np.full(n, _SLOPE_SPREAD),
                np.full(n, _NOISE_SPREAD),
            ]
        )
