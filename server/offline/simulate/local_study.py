"""What a local layer saves, and how much more than means learnt from the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from p2l_model.analysis.scored import PromptReader
from p2l_model.placement.place import Placer
from p2l_model.types import FloatArray
from router.objective import Objective
from server.offline.simulate.curves import (
    N_RESAMPLES,
    Curve,
    Interval,
    bootstrap_weights,
    gain_over,
    interval,
    saving_of,
    single_models,
)
from server.offline.simulate.local_curves import MEANS, OURS, Splits, local_curves, read_known
from server.offline.simulate.study import Study, judged, saved_at
from server.offline.simulate.table import ScoreTable

# Shares of the best single model's score at which the saving is told.
LEVELS: Final = (1.0, 0.99, 0.97)
_COSTS: Final = "the costs of the prompts of the other folds, by prompt"


@dataclass(frozen=True, slots=True)
class LocalStudy:
    """study: of the curves; `p2l` has the local layer, `marginal` the means of the same answers,
    `per_category` means for each category. saved: by curve, at the shares LEVELS of the best single
    model's score. area_less_means, saved_less_means: of the layer less those of the means, over the
    same resampled prompts."""

    study: Study
    splits: Splits
    saved: Mapping[str, Mapping[float, Interval]]
    area_less_means: Interval
    saved_less_means: Mapping[float, Interval]

    def local(self) -> dict[str, Any]:
        """What the local layer adds to pareto.json and simulate.json."""
        return {
            "n_answers": self.splits.n_answers,
            "n_folds": self.splits.n_folds,
            "n_seeds": self.splits.n_seeds,
            "n_prompts": len(self.study.table.conversations),
            "models": list(self.study.table.models),
            "expected_costs_from": self.study.cost_source,
            "area": {name: one._asdict() for name, one in self.study.area.items()},
            "saved": {name: _by_level(one) for name, one in self.saved.items()},
            "area_less_means": self.area_less_means._asdict(),
            "saved_less_means": _by_level(self.saved_less_means),
        }


def run_local_study(
    reader: PromptReader,
    table: ScoreTable,
    placer: Placer,
    splits: Splits,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    on_progress: Callable[[str, int, int], None] = lambda _stage, _done, _of: None,
) -> LocalStudy:
    """Runs the study. table: complete. Raises DataError."""
    n = len(table.conversations)
    splits.check(n)
    known = read_known(reader, table, placer, lambda done: on_progress("prompts", done, n))
    curves = local_curves(
        table, known, splits, lambda done: on_progress("splits", done, splits.n_seeds)
    )
    weights = bootstrap_weights(n, seed, n_resamples)
    study = judged(table, Objective.P_GOOD, _COSTS, curves, {}, weights, known.hidden)
    saved = {
        name: {level: saved_at(level, curve, table, weights) for level in LEVELS}
        for name, curve in curves.items()
    }
    return LocalStudy(study, splits, saved, *less_means(curves, table, weights))


def less_means(
    curves: Mapping[str, Curve], table: ScoreTable, weights: FloatArray
) -> tuple[Interval, Mapping[float, Interval]]:
    """Area and savings of the layer less those of the means."""
    singles, flat = single_models(table), np.ones(weights.shape[1])
    best = int(np.argmax(singles.means(flat)[1]))

    def less(measure: Callable[[Curve, FloatArray], float]) -> Interval:
        def at(w: FloatArray) -> float:
            return measure(curves[OURS], w) - measure(curves[MEANS], w)

        return interval(at(flat), [at(w) for w in weights])

    area = less(lambda curve, w: gain_over(curve, singles, w))
    saved = {level: less(_saved_at(level, singles, best)) for level in LEVELS}
    return area, saved


def _saved_at(level: float, singles: Curve, best: int) -> Callable[[Curve, FloatArray], float]:
    return lambda curve, weights: saving_of(curve, singles, best, weights, level)


def _by_level(saved: Mapping[float, Interval]) -> dict[str, Any]:
    """Share of the best single model's score, such as "0.99" -> the share of its cost saved."""
    return {f"{level:.2f}": one._asdict() for level, one in saved.items()}
