"""What a router that learns from these very answers would choose: each prompt is decided by what
was learnt from the answers to other prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from p2l_model.analysis.scored import PromptReader
from p2l_model.placement.place import Placer
from server.offline.simulate.curves import Curve, pick, prices_of
from server.offline.simulate.local_curves import OURS, Splits, beliefs, folds, read_known
from server.offline.simulate.table import ScoreTable

_FOLDS: Final = 5


def cross_validated(
    table: ScoreTable,
    reader: PromptReader,
    placer: Placer,
    on_progress: Callable[[str, int, int], None] = lambda _stage, _done, _of: None,
    seed: int = 0,
) -> Curve:
    """The curve on a complete table of P prompts and M models, by five folds: the local layer
    learns from as many answers as there are to the prompts of the other four. Raises DataError."""
    n, n_models = table.score.shape
    splits = Splits(n_answers=n * n_models * (_FOLDS - 1) // _FOLDS, n_folds=_FOLDS, n_seeds=1)
    splits.check(n)
    known = read_known(reader, table, placer, lambda done: on_progress("prompts", done, n))
    prices = prices_of(table.cost_usd)
    picked = np.empty((len(prices), n), dtype=np.intp)
    for k, (asked, drawn) in enumerate(folds(table, splits, seed), 1):
        belief = beliefs(table, known, asked, drawn)[OURS]
        for point, price in enumerate(prices):
            picked[point, asked] = pick(belief, price)
        on_progress("splits", k, _FOLDS)
    cost, score = table.cost_usd[np.arange(n), picked], table.score[np.arange(n), picked]
    order = np.argsort(cost.mean(axis=1), kind="stable")
    return Curve(cost[order], score[order], picked[None, order], np.array(prices)[order])
