"""One number for each model of a source: what its topics have in common.

A factor analysis with one factor and missing cells, fitted by expectation maximisation: the result
of a model in a topic is offset + loading * g + noise, g of mean 0 and variance 1 over the source's
models (Rubin and Thayer, EM algorithms for ML factor analysis, Psychometrika 47, 1982).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.types import FloatArray

_STEPS: Final = 60
_LEAST_NOISE: Final = 0.02
_LOADING_RIDGE: Final = 1e-3
_NOISE_PRIOR: Final = 0.1
_FIRST_NOISE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Factor:
    """Of T topics: centre and spread (T,) of the cells, and offset, loading, noise (T,) of the
    cells so standardised; noise is a variance."""

    centre: FloatArray
    spread: FloatArray
    offset: FloatArray
    loading: FloatArray
    noise: FloatArray

    def scores(self, cells: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The factor of each model and its variance (M,). cells: (T, M), NaN where missing."""
        given = ~np.isnan(cells)
        standard = np.where(given, (cells - self.centre[:, None]) / self.spread[:, None], 0.0)
        weight = (self.loading / self.noise)[:, None]
        precision = 1.0 + (given * (self.loading * weight[:, 0])[:, None]).sum(axis=0)
        apart = np.where(given, standard - self.offset[:, None], 0.0)
        return (apart * weight).sum(axis=0) / precision, 1.0 / precision


def fit(cells: FloatArray) -> Factor:
    """Fits the factor of a source. cells: results (T, M) on linear scales, NaN where missing; every
    topic has at least two."""
    given = ~np.isnan(cells)
    n_topics = cells.shape[0]
    centre = np.nanmean(cells, axis=1)
    spread = np.maximum(np.nanstd(cells, axis=1), 1e-9)
    standard = (cells - centre[:, None]) / spread[:, None]
    now = Factor(
        centre, spread, np.zeros(n_topics), np.ones(n_topics), np.full(n_topics, _FIRST_NOISE)
    )
    for _ in range(_STEPS):
        g, variance = now.scores(cells)
        lines = [
            _line(standard[t, given[t]], g[given[t]], variance[given[t]]) for t in range(n_topics)
        ]
        offset, loading, noise = (np.array(column) for column in zip(*lines, strict=True))
        now = Factor(centre, spread, offset, loading, noise)
    return now


def _line(y: FloatArray, g: FloatArray, variance: FloatArray) -> tuple[float, float, float]:
    """Offset, loading and noise of one topic, given the factor's moments."""
    n = y.size
    square = g**2 + variance
    gram = np.array([[n, g.sum()], [g.sum(), square.sum() + _LOADING_RIDGE]])
    offset, loading = np.linalg.solve(gram, np.array([y.sum(), (y * g).sum()]))
    rest = ((y - offset - loading * g) ** 2).sum() + loading**2 * variance.sum()
    return float(offset), float(loading), max(_LEAST_NOISE, float(rest + _NOISE_PRIOR) / (n + 1))
