"""What a report is made of: models and a router, measured on the same prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2l_model.types import FloatArray
from server.offline.simulate.curves import Curve
from server.offline.simulate.table import ScoreTable


@dataclass(frozen=True, slots=True)
class Measured:
    """M models and a router at J settings on P prompts, and D - 1 resamples of the prompts.

    The first of the D rows is what was measured; the others say how much chance there is in it:
    each resamples everything alike.

    single_cost (D, M), single_score (D, M): mean cost in USD of a request, and mean score from 0 to
    1. router_cost (D, J), router_score (D, J): the same for the router, by rising cost. picked (S,
    J, P): whom it asks, as an index of models, in each of S splits of the prompts. usd_per_win
    (J,): the value of `routing.usd_per_win` that makes it do so, infinite where cost counts for
    nothing, NaN where only cost counts. kind (P,): the kind of each prompt, empty where unknown.
    answers (M,): how many answers of each model were graded. latency_s: the median seconds of an
    answer by model, where known.
    """

    models: tuple[str, ...]
    single_cost: FloatArray
    single_score: FloatArray
    router_cost: FloatArray
    router_score: FloatArray
    picked: NDArray[np.intp]
    usd_per_win: FloatArray
    kind: NDArray[np.str_]
    answers: NDArray[np.intp]
    latency_s: Mapping[str, float]

    @property
    def n_prompts(self) -> int:
        """P, the number of prompts."""
        return int(self.picked.shape[2])


def measured(
    table: ScoreTable,
    router: Curve,
    weights: FloatArray,
    latency_s: Mapping[str, float] | None = None,
    kind: NDArray[np.str_] | None = None,
    *,
    with_settings: bool = True,
) -> Measured:
    """Measures a complete table and a router's curve on it. weights (D - 1, P): how often each
    resample draws each prompt. kind: in place of the table's categories. with_settings: whether
    the curve's values are those by which the gateway decides. Raises ValueError where the curve
    does not say which models it picked."""
    if router.picked is None or router.weight is None:
        raise ValueError("the curve does not say which models were picked")
    n = len(table.conversations)
    draws = np.vstack([np.ones(n), weights])
    draws = draws / draws.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        usd_per_win = np.where(np.isinf(router.weight), np.nan, 1.0 / router.weight)
    if not with_settings:
        usd_per_win = np.full(len(router.weight), np.nan)
    return Measured(
        models=table.models,
        single_cost=draws @ table.cost_usd,
        single_score=draws @ table.score,
        router_cost=draws @ router.cost.T,
        router_score=draws @ router.score.T,
        picked=router.picked,
        usd_per_win=usd_per_win,
        kind=table.category if kind is None else kind,
        answers=np.full(len(table.models), n),
        latency_s={} if latency_s is None else latency_s,
    )
