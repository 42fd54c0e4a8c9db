"""sum_a q_a sigmoid(t - theta_a) at many t, without a matrix of all pairs where there are many.

The sigmoid is analytic for |Im| < pi, so on an interval of half-width 2 its Chebyshev interpolant
converges like rho^-n. On the Bernstein ellipse with semi-axis 2 along the imaginary axis (rho =
1 + sqrt 2) it is at most 1 / sin 2 = 1.1 in modulus, so with n = 44 nodes the error is at most
4 * 1.1 * rho^-43 / (rho - 1) = 1.1e-16 (Trefethen, Approximation Theory and Approximation
Practice, theorem 8.2). Interpolating in theta and then in t multiplies it by at most one Lebesgue
constant (3.5) more: below the rounding of the direct sum, so that nothing is decided otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from p2l_model.types import FloatArray

N_NODES: Final = 44
HALF_WIDTH: Final = 2.0
# Chebyshev points of the first kind and the barycentric weights that go with them.
_ANGLES: Final = (np.arange(N_NODES) + 0.5) * (np.pi / N_NODES)
_NODES: Final = np.cos(_ANGLES)
_SIGNED_SINES: Final = np.sin(_ANGLES) * (-1.0) ** np.arange(N_NODES)
_TINY: Final = 1e-200
# Below so many pairs the matrix is quicker than its avoidance.
_FEW_PAIRS: Final = 40_000


def expected_sigmoid(points: FloatArray, centres: FloatArray, weights: FloatArray) -> FloatArray:
    """(M,) from points (M,), centres (K,) and their weights (K,)."""
    if points.size * centres.size <= _FEW_PAIRS:
        return _direct(points, centres, weights)
    at = _Panels.of(points)
    around = at if centres is points else _Panels.of(centres)
    if max(at.middles.size, around.middles.size) * N_NODES >= min(points.size, centres.size):
        return _direct(points, centres, weights)
    at_nodes = _direct(at.nodes, around.nodes, around.gathered(weights))
    return at.interpolated(at_nodes)


@dataclass(frozen=True, slots=True)
class _Panels:
    """Intervals of width 2 * HALF_WIDTH that hold a point.

    order: (M,) sorts the points. slices: a panel's points among the sorted. middles: (P,).
    terms: for each panel (m, N_NODES) the barycentric terms of its points.
    """

    order: NDArray[np.intp]
    slices: list[slice]
    middles: FloatArray
    terms: list[FloatArray]

    @classmethod
    def of(cls, points: FloatArray) -> Self:
        order = np.argsort(points)
        ranked = points[order]
        panel = ((ranked - ranked[0]) / (2 * HALF_WIDTH)).astype(np.int64)
        occupied, first = np.unique(panel, return_index=True)
        middles = ranked[0] + (2 * occupied + 1) * HALF_WIDTH
        ends = [*first.tolist(), ranked.size]
        slices = [slice(ends[k], ends[k + 1]) for k in range(occupied.size)]
        local = [(ranked[s] - m) / HALF_WIDTH for s, m in zip(slices, middles, strict=True)]
        return cls(order, slices, middles, [_terms(x) for x in local])

    @property
    def nodes(self) -> FloatArray:
        """(P * N_NODES,)"""
        nodes: FloatArray = self.middles[:, None] + HALF_WIDTH * _NODES
        return nodes.ravel()

    def gathered(self, weights: FloatArray) -> FloatArray:
        """(P * N_NODES,): the weights (M,) of the points as weights of the nodes."""
        ranked = weights[self.order]
        parts = zip(self.slices, self.terms, strict=True)
        return np.concatenate([(ranked[s] / t.sum(axis=1)) @ t for s, t in parts])

    def interpolated(self, at_nodes: FloatArray) -> FloatArray:
        """(M,): values at the points from those at the nodes."""
        values = np.empty(self.order.size)
        by_panel = at_nodes.reshape(-1, N_NODES)
        for s, terms, known in zip(self.slices, self.terms, by_panel, strict=True):
            values[self.order[s]] = (terms @ known) / terms.sum(axis=1)
        return values


def _terms(local: FloatArray) -> FloatArray:
    """(m, N_NODES) from (m,) in [-1, 1]: Lagrange polynomials but for the sum over the nodes."""
    distance = local[:, None] - _NODES
    distance[distance == 0.0] = _TINY  # on a node that node's term is all there is
    terms: FloatArray = _SIGNED_SINES / distance
    return terms


def _direct(points: FloatArray, centres: FloatArray, weights: FloatArray) -> FloatArray:
    difference = points[:, None] - centres[None, :]  # (M, K)
    difference *= 0.5
    np.tanh(difference, out=difference)
    values: FloatArray = 0.5 * (weights.sum() + difference @ weights)
    return values
