"""What an answer will cost, by prompt, learnt from what answers did cost.

log(cost of model m on prompt z) by ridge on what the checkpoint's heads read of z, and on how long
z is; the penalty of least leave-one-out error. A cost's mean is more than the exponential of its
logarithm's, by the factor that leave-one-out predictions of the training costs lack.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2l_model.types import FloatArray
from server.simulate.table import ScoreTable

_PENALTIES: Final = np.geomspace(1e-3, 1e2, 11)
# Beyond what was ever seen, a line in the logarithm is a guess.
_BEYOND: Final = 2.0


class ReadPrompts(NamedTuple):
    """A table, and what the checkpoint's heads read of its prompts: hidden (P, H)."""

    table: ScoreTable
    hidden: FloatArray


def learnt_costs(train: ReadPrompts, asked: ReadPrompts) -> FloatArray:
    """(P, M) USD of the asked table's models, each graded and priced in training."""
    columns = [train.table.models.index(name) for name in asked.table.models]
    cost = train.table.cost_usd[:, columns]
    x, wanted = _standardised(_design(train), _design(asked))
    found = np.empty((wanted.shape[0], len(columns)))
    known = np.isfinite(cost)
    # models that answered the same prompts share the decomposition
    masks, group = np.unique(known, axis=1, return_inverse=True)
    for index in range(masks.shape[1]):
        rows, models = masks[:, index], np.flatnonzero(group.reshape(-1) == index)
        found[:, models] = _group(x[rows], cost[np.ix_(rows, models)], wanted)
    return found


def _design(prompts: ReadPrompts) -> FloatArray:
    return np.column_stack([prompts.hidden, np.log1p(prompts.table.input_tokens)])


def _standardised(x: FloatArray, wanted: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    return (x - mean) / scale, (wanted - mean) / scale


def _group(x: FloatArray, cost: FloatArray, wanted: FloatArray) -> FloatArray:
    """x (n, H), cost (n, m) -> (P, m)."""
    least = cost[cost > 0].min() if (cost > 0).any() else 1.0
    y = np.log(np.maximum(cost, least))
    centre, level = x.mean(axis=0), y.mean(axis=0)
    u, singular, vt = np.linalg.svd(x - centre, full_matrices=False)
    best = min(
        (_left_out(u, singular, y - level, penalty * x.shape[0]) for penalty in _PENALTIES),
        key=lambda fit: fit.error,
    )
    weight = vt.T @ best.rotated
    log_cost = np.clip(
        level + (wanted - centre) @ weight,
        y.min(axis=0) - np.log(_BEYOND),
        y.max(axis=0) + np.log(_BEYOND),
    )
    lacking = cost.mean(axis=0) / np.exp(level + best.predicted).mean(axis=0)
    found: FloatArray = np.exp(log_cost) * lacking
    return found


class _Fit(NamedTuple):
    """error: mean square of what is left out; predicted: (n, m) each row without itself; rotated:
    the weights in the singular vectors' terms."""

    error: float
    predicted: FloatArray
    rotated: FloatArray


def _left_out(u: FloatArray, singular: FloatArray, y: FloatArray, penalty: float) -> _Fit:
    shrunk: NDArray[np.float64] = singular**2 / (singular**2 + penalty)
    projected = u.T @ y
    fitted = u @ (shrunk[:, None] * projected)
    # the mean is fitted too
    leverage = (u**2) @ shrunk + 1.0 / u.shape[0]
    residual = (y - fitted) / np.maximum(1.0 - leverage, 1e-6)[:, None]
    rotated = (singular / (singular**2 + penalty))[:, None] * projected
    return _Fit(float((residual**2).mean()), y - residual, rotated)
