"""What a local layer saves, and how much more than means learnt from the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    saving_at_equal_scores,
    saving_of,
    single_models,
)
from server.offline.simulate.local_curves import (
    MEANS,
    OURS,
    Splits,
    local_curves,
    mean_curve,
    read_known,
)
from server.offline.simulate.study import Study
from server.offline.simulate.table import ScoreTable

# Shares of the best single model's score at which the saving is told.
LEVELS: Final = {"1.00": 1.0, "0.99": 0.99, "0.97": 0.97}
AREA: Final = "area"
EQUAL: Final = "equal_scores"
_COSTS: Final = "the costs of the prompts of the other folds, by prompt"

# A number of a curve, with prompts weighted (P,).
Measure = Callable[[Curve, FloatArray], float]


@dataclass(frozen=True, slots=True)
class LocalStudy:
    """study: of the mean curves; `p2l` has the local layer, `marginal` the means of the same
    answers, `per_category` means for each category. found: of each, the measures (`measures_of`).
    less_means: those of the layer less those of the means, over the same resampled prompts."""

    study: Study
    splits: Splits
    found: Mapping[str, Mapping[str, Interval]]
    less_means: Mapping[str, Interval]

    def local(self) -> dict[str, Any]:
        """What the local layer adds to pareto.json and simulate.json."""
        return {
            "n_answers": self.splits.n_answers,
            "n_folds": self.splits.n_folds,
            "n_seeds": self.splits.n_seeds,
            "n_prompts": len(self.study.table.conversations),
            "models": list(self.study.table.models),
            "expected_costs_from": self.study.cost_source,
            "area": {name: one[AREA]._asdict() for name, one in self.found.items()},
            "saved_at_equal_scores": {n: one[EQUAL]._asdict() for n, one in self.found.items()},
            "saved": {name: _by_level(one) for name, one in self.found.items()},
            "area_less_means": self.less_means[AREA]._asdict(),
            "saved_at_equal_scores_less_means": self.less_means[EQUAL]._asdict(),
            "saved_less_means": _by_level(self.less_means),
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
    means = {name: mean_curve(of_seeds) for name, of_seeds in curves.items()}
    measures = measures_of(table)
    found = {name: measured(one, measures, weights) for name, one in curves.items()}
    less = measured(curves[OURS], measures, weights, curves[MEANS])
    study = Study(
        table=table,
        objective=Objective.P_GOOD,
        cost_source=_COSTS,
        curves=means,
        area={name: one[AREA] for name, one in found.items()},
        saving={name: one["1.00"] for name, one in found.items()},
        streams={},
        weights=weights,
        hidden=known.hidden,
    )
    return LocalStudy(study, splits, found, less)


def measures_of(table: ScoreTable) -> dict[str, Measure]:
    """What is measured of a curve: the area above the best mix of single models; the share of the
    mix's cost saved at equal scores; under each name of LEVELS the share of the best single model's
    cost saved there."""
    singles, flat = single_models(table), np.ones(len(table.conversations))
    best = int(np.argmax(singles.means(flat)[1]))
    over_mix = {
        AREA: lambda curve, weights: gain_over(curve, singles, weights),
        EQUAL: lambda curve, weights: saving_at_equal_scores(curve, singles, weights),
    }
    return over_mix | {name: _saved_at(level, singles, best) for name, level in LEVELS.items()}


def measured(
    curves: Sequence[Curve],
    measures: Mapping[str, Measure],
    weights: FloatArray,
    less: Sequence[Curve] | None = None,
) -> dict[str, Interval]:
    """Each measure, a mean over the seeds: what whoever learns once has to expect. less: curves of
    the same seeds whose measures are subtracted. weights (D, P): of the resampled prompts."""
    flat = np.ones(weights.shape[1])

    def at(measure: Measure, w: FloatArray) -> float:
        minus = 0.0 if less is None else np.mean([measure(one, w) for one in less])
        return float(np.mean([measure(one, w) for one in curves]) - minus)

    return {
        name: interval(at(measure, flat), [at(measure, w) for w in weights])
        for name, measure in measures.items()
    }


def _saved_at(level: float, singles: Curve, best: int) -> Measure:
    return lambda curve, weights: saving_of(curve, singles, best, weights, level)


def _by_level(found: Mapping[str, Interval]) -> dict[str, Any]:
    """Share of the best single model's score, such as "0.99" -> the share of its cost saved."""
    return {level: found[level]._asdict() for level in LEVELS}
