"""Finds kinds of prompts by Ward's hierarchical clustering of the features that the heads read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.errors import DataError, ExtraMissingError
from p2l_model.types import FloatArray, IntArray

# Ward's method needs all pairwise distances of the prompts that it is given.
_MOST_CLUSTERED: Final = 3000
_COMPONENTS: Final = 32
_SHARE: Final = 0.8
_N_SEEDS: Final = 5
_FEWEST_PER_CLUSTER: Final = 5


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters of P prompts.

    labels (P,): from 0, the largest cluster first. typical: the prompts of each cluster, the
    nearest to its centre first. adjusted_rand: the agreement of these labels with those found from
    other random samples of the prompts, one number per seed: 1 means identical, 0 means chance.
    """

    labels: IntArray
    typical: tuple[IntArray, ...]
    adjusted_rand: tuple[float, ...]


def find_clusters(features: FloatArray, n_clusters: int, seed: int = 0) -> Clusters:
    """Clusters prompts by their features (P, F).

    Up to 3,000 prompts are clustered; the others join the nearest centre. Raises DataError where
    there are too few prompts, ExtraMissingError without scipy.
    """
    n = features.shape[0]
    if n_clusters < 2 or n < _FEWEST_PER_CLUSTER * n_clusters:
        raise DataError(
            f"{n} prompts are too few for {n_clusters} clusters: at least 2 clusters, and "
            f"{_FEWEST_PER_CLUSTER} prompts for each"
        )
    points = _components(features)
    labels, centres = _ward(points, n_clusters, np.random.default_rng(seed), 1.0)
    order = np.argsort(-np.bincount(labels, minlength=n_clusters), kind="stable")
    labels, centres = np.argsort(order)[labels], centres[order]
    others = [
        _ward(points, n_clusters, np.random.default_rng([seed, again]), _SHARE)[0]
        for again in range(1, _N_SEEDS + 1)
    ]
    distance = ((points - centres[labels]) ** 2).sum(axis=1)
    typical = tuple(
        members[np.argsort(distance[members], kind="stable")]
        for members in (np.flatnonzero(labels == index) for index in range(n_clusters))
    )
    return Clusters(labels, typical, tuple(adjusted_rand_index(labels, one) for one in others))


def adjusted_rand_index(first: IntArray, second: IntArray) -> float:
    """The agreement of two labelings (N,), corrected for chance (Hubert and Arabie, 1985): 1 for
    the same partition, 0 on average for unrelated ones."""
    _, a = np.unique(first, return_inverse=True)
    _, b = np.unique(second, return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    together = _pairs(table).sum()
    rows, columns = _pairs(table.sum(axis=1)).sum(), _pairs(table.sum(axis=0)).sum()
    expected = rows * columns / float(_pairs(np.array(float(a.size))))
    most = 0.5 * (rows + columns)
    return 1.0 if most == expected else float((together - expected) / (most - expected))


def _pairs(counts: FloatArray) -> FloatArray:
    pairs: FloatArray = counts * (counts - 1) / 2
    return pairs


def _components(features: FloatArray) -> FloatArray:
    """The first principal components of the standardised features: in hundreds of dimensions noise
    would make all distances alike."""
    scale = features.std(axis=0)
    moving = scale > 1e-12
    if not moving.any():
        raise DataError("the prompts are all alike to the model: there are no kinds to find")
    x = (features[:, moving] - features[:, moving].mean(axis=0)) / scale[moving]
    _, vectors = np.linalg.eigh(x.T @ x)
    return np.asarray(x @ vectors[:, ::-1][:, :_COMPONENTS], dtype=np.float64)


def _ward(
    points: FloatArray, n_clusters: int, chance: np.random.Generator, share: float
) -> tuple[IntArray, FloatArray]:
    """Clusters a random part of the points: returns labels (P,) of all, and centres (K, D)."""
    try:
        from scipy.cluster.hierarchy import fcluster, linkage
    except ImportError as error:
        raise ExtraMissingError("scipy", "analysis") from error
    n = points.shape[0]
    size = min(_MOST_CLUSTERED, max(n_clusters, round(share * n)))
    drawn = np.sort(chance.permutation(n)[:size])
    found = fcluster(linkage(points[drawn], method="ward"), n_clusters, criterion="maxclust") - 1
    centres = np.array([
        points[drawn[found == index]].mean(axis=0) for index in range(int(found.max()) + 1)
    ])  # fmt: skip
    return nearest(points, centres), centres


def nearest(points: FloatArray, centres: FloatArray) -> IntArray:
    """The index (P,) of the centre (K, D) nearest to each point."""
    distance = (centres**2).sum(axis=1) - 2 * points @ centres.T
    return np.asarray(distance.argmin(axis=1), dtype=np.int64)
