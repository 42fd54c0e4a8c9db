"""All curves of one set of scores, and their summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2l_model.analysis.scored import PromptReader
from p2l_model.errors import DataError
from p2l_model.types import FloatArray
from router.objective import Objective
from server.offline.simulate.columns import TableRows
from server.offline.simulate.costs import expected_costs
from server.offline.simulate.curves import (
    N_RESAMPLES,
    Curve,
    Interval,
    bootstrap_weights,
    curve_of,
    envelope,
    gain_over,
    interval,
    points,
    saving_of,
    single_models,
)
from server.offline.simulate.predict import (
    Belief,
    category_values,
    marginal_values,
    predict,
)
from server.offline.simulate.stream import N_SEEDS, StreamResult, run_streams
from server.offline.simulate.table import ScoreTable, TokenPrices

OURS = "p2l"


@dataclass(frozen=True, slots=True)
class Study:
    """A study. curves: by name, `p2l` first. area: mean score above the best random mix of single
    models, by curve; saving: share of the best single model's cost at its score, by curve. weights
    (D, P): how often each resample draws each prompt. hidden (P, H): the prompts' features."""

    table: ScoreTable
    objective: Objective
    cost_source: str
    curves: Mapping[str, Curve]
    area: Mapping[str, Interval]
    saving: Mapping[str, Interval]
    streams: Mapping[str, list[StreamResult]]
    weights: FloatArray
    hidden: FloatArray

    def pareto(self) -> dict[str, Any]:
        """The content of pareto.json."""
        curves = {name: points(curve, self.weights) for name, curve in self.curves.items()}
        curves["random_mix"] = self._random_mix()
        singles = points(single_models(self.table), self.weights)
        area, saving = self.area[OURS], self.saving[OURS]
        return {
            "curves": curves,
            "single_models": [
                {"model": name, **point}
                for name, point in zip(self.table.models, singles, strict=True)
            ],
            "area_over_random_mix": area.value,
            "area_ci95": [area.low, area.high],
            "saving_at_best_single": saving.value,
            "saving_ci95": [saving.low, saving.high],
        }

    def report(self) -> dict[str, Any]:
        """Everything else: what was compared with what, and the streams."""
        return {
            "n_prompts": len(self.table.conversations),
            "models": list(self.table.models),
            "objective": self.objective.value,
            "expected_costs_from": self.cost_source,
            "notes": list(self.table.notes),
            "area_over_random_mix": {k: v._asdict() for k, v in self.area.items()},
            "saving_at_best_single": {k: v._asdict() for k, v in self.saving.items()},
            "streams": {k: [r.to_json() for r in v] for k, v in self.streams.items()},
        }

    def _random_mix(self) -> list[dict[str, Any]]:
        cost, score = envelope(*single_models(self.table).means(np.ones(self.weights.shape[1])))
        draws = np.array([self._mix_heights(w, cost) for w in self.weights])
        low, high = np.quantile(draws, (0.025, 0.975), axis=0)
        return [
            {"cost_usd": float(c), "score": float(s), "ci95": [float(a), float(b)]}
            for c, s, a, b in zip(cost, score, low, high, strict=True)
        ]

    def _mix_heights(self, weights: FloatArray, at: FloatArray) -> FloatArray:
        heights: FloatArray = np.interp(at, *envelope(*single_models(self.table).means(weights)))
        return heights


def run_study(
    reader: PromptReader,
    table: ScoreTable,
    prices: Mapping[str, TokenPrices],
    *,
    train: ScoreTable | None = None,
    objective: Objective | None = None,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    n_seeds: int = N_SEEDS,
    on_progress: Callable[[str, int, int], None] = lambda _stage, _done, _of: None,
) -> Study:
    """Runs the study. Raises DataError where the checkpoint and the scores have less than two
    models in common."""
    table = _common(table, reader, train)
    n = len(table.conversations)
    predicted = predict(reader, table, objective, lambda done: on_progress("prompts", done, n))
    cost, source = expected_costs(reader, table, predicted, prices, train, on_progress)
    beliefs = {
        OURS: Belief(predicted.value, cost),
        "marginal": Belief(marginal_values(predicted, train, table), cost),
        "oracle": Belief(table.score, table.cost_usd),
    }
    by_category = category_values(table, train)
    if by_category is not None:
        beliefs["per_category"] = Belief(by_category, cost)
    curves = {name: curve_of(table, belief) for name, belief in beliefs.items()}
    weights = bootstrap_weights(n, seed, n_resamples)
    streams = {}
    for name in [k for k in beliefs if k != "oracle"]:
        on_progress(f"stream {name}", 0, 1)
        streams[name] = run_streams(table, beliefs[name], seed, n_seeds)
    areas = {name: _area(curve, table, weights) for name, curve in curves.items()}
    savings = {name: _saving(curve, table, weights) for name, curve in curves.items()}
    return Study(
        table, predicted.objective, source, curves, areas, savings, streams, weights,
        predicted.hidden,
    )  # fmt: skip


def _common(table: ScoreTable, reader: PromptReader, train: ScoreTable | None) -> ScoreTable:
    known = set(TableRows(table.models, reader.models).row)
    if train is not None:
        graded = (np.isfinite(train.cost_usd) & np.isfinite(train.score)).sum(axis=0)
        known &= {m for m, n in zip(train.models, graded.tolist(), strict=True) if n > 0}
    names = [name for name in table.models if name in known]
    if len(names) < 2:
        raise DataError("the checkpoint knows fewer than two of the scores' models")
    return table.of_models(names, "unknown to the checkpoint or the training scores").complete()


def _area(curve: Curve, table: ScoreTable, weights: FloatArray) -> Interval:
    singles = single_models(table)
    value = gain_over(curve, singles, np.ones(weights.shape[1]))
    return interval(value, [gain_over(curve, singles, w) for w in weights])


def _saving(curve: Curve, table: ScoreTable, weights: FloatArray) -> Interval:
    singles, flat = single_models(table), np.ones(weights.shape[1])
    best = int(np.argmax(singles.means(flat)[1]))
    value = saving_of(curve, singles, best, flat)
    return interval(value, [saving_of(curve, singles, best, w) for w in weights])
