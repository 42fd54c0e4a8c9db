"""Ridge regression of many columns on one design, at the penalty with the least leave-one-out
error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2l_model.types import FloatArray

_PENALTIES: Final = np.geomspace(1e-3, 1e2, 11)
_LEAST_LEFT: Final = 1e-6


class RidgeFit(NamedTuple):
    """y is about x @ weight.T + bias, with weight (M, H) and bias (M,). left_out (P, M): the
    prediction for each row from a fit without that row, NaN where y is NaN."""

    weight: FloatArray
    bias: FloatArray
    left_out: FloatArray


def fit_ridge(x: FloatArray, y: FloatArray) -> RidgeFit:
    """Fits y (P, M), NaN where unknown, on x (P, H), which is standardised internally. A column
    without values gets zeros. The leave-one-out error of ridge is exact: residual / (1 -
    leverage)."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    standard = (x - mean) / scale
    fit = RidgeFit(
        np.zeros((y.shape[1], x.shape[1])), np.zeros(y.shape[1]), np.full(y.shape, np.nan)
    )
    for rows, columns in _groups(~np.isnan(y)):
        cells = np.ix_(rows, columns)
        weight, level, fit.left_out[cells] = _fit_group(standard[rows], y[cells])
        fit.weight[columns] = weight / scale
        fit.bias[columns] = level - fit.weight[columns] @ mean
    return fit


def lacking(y: FloatArray, predicted: FloatArray) -> FloatArray:
    """The mean of exp(y) divided by the mean of exp(predicted) for each column (M,), where y is
    known: by how much the mean of a quantity exceeds the exponential of its predicted logarithm
    (Duan's smearing, as a ratio)."""
    known = ~np.isnan(y)
    ratio: FloatArray = np.exp(y, where=known, out=np.zeros_like(y)).sum(axis=0) / np.maximum(
        np.exp(predicted, where=known, out=np.zeros_like(y)).sum(axis=0), np.finfo(float).tiny
    )
    return ratio


def _groups(known: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Groups of (rows, columns) where the columns are known on the same rows, so that they share a
    decomposition."""
    masks, group = np.unique(known, axis=1, return_inverse=True)
    for index in range(masks.shape[1]):
        rows = np.flatnonzero(masks[:, index])
        if rows.size > 0:
            yield rows, np.flatnonzero(group.reshape(-1) == index)


def _fit_group(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """x (n, H), y (n, m) -> weight (m, H), intercept (m,), left_out (n, m)."""
    centre, level = x.mean(axis=0), y.mean(axis=0)
    u, singular, vt = np.linalg.svd(x - centre, full_matrices=False)
    projected = u.T @ (y - level)
    fits = (
        (penalty, _left_out(u, singular, projected, y - level, penalty * x.shape[0]))
        for penalty in _PENALTIES
    )
    penalty, residual = min(fits, key=lambda fit: float((fit[1] ** 2).mean()))
    shrink = singular / (singular**2 + penalty * x.shape[0])
    weight = (vt.T @ (shrink[:, None] * projected)).T
    return weight, level - weight @ centre, y - residual


def _left_out(
    u: FloatArray, singular: FloatArray, projected: FloatArray, y: FloatArray, penalty: float
) -> FloatArray:
    """The residuals (n, m) of each row when it is left out."""
    shrunk = singular**2 / (singular**2 + penalty)
    leverage = (u**2) @ shrunk + 1.0 / u.shape[0]  # the mean is fitted as well
    fitted = u @ (shrunk[:, None] * projected)
    residual: FloatArray = (y - fitted) / np.maximum(1.0 - leverage, _LEAST_LEFT)[:, None]
    return residual
