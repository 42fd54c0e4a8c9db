"""Measures how much a model saves: the router's curve with it against the curve without it, on
prompts on which all models have been graded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from p2l_model.analysis.scored import PromptReader
from p2l_model.errors import DataError
from server.offline.simulate.columns import TableRows
from server.offline.simulate.costs import expected_costs
from server.offline.simulate.curves import (
    Interval,
    bootstrap_weights,
    curve_of,
    interval,
    saving_of,
    single_models,
)
from server.offline.simulate.predict import Belief, predict
from server.offline.simulate.table import ScoreTable, TokenPrices


def saving_of_model(
    model: str,
    reader: PromptReader,
    table: ScoreTable,
    prices: Mapping[str, TokenPrices],
    *,
    seed: int = 0,
    n_resamples: int = 1000,
) -> dict[str, Any]:
    """The shares of the cost of the best single other model that are saved, at its score, by
    routing without the model and with it, and their difference, on the same prompts with the same
    draws.

    Raises DataError where the scores lack the model, or two others that the checkpoint knows.
    """
    known = list(TableRows(table.models, reader.models).row)
    table = table.of_models(known, "unknown to the checkpoint").complete()
    if model not in table.models or len(table.models) < 3:
        raise DataError(f"the scores need {model} and two other models on the same prompts")
    predicted = predict(reader, table, None, lambda done: None)  # noqa: ARG005
    cost, source = expected_costs(reader, table, predicted, prices)
    others = [index for index, name in enumerate(table.models) if name != model]
    field = table.of_models([table.models[index] for index in others], "the newcomer")
    curves = {
        "with": curve_of(table, Belief(predicted.value, cost)),
        "without": curve_of(field, Belief(predicted.value[:, others], cost[:, others])),
    }
    singles = single_models(field)
    flat = np.ones(len(table.conversations))
    best = int(np.argmax(singles.means(flat)[1]))
    weights = bootstrap_weights(flat.size, seed, n_resamples)
    found = {
        name: (saving_of(curve, singles, best, flat),
               [saving_of(curve, singles, best, w) for w in weights])
        for name, curve in curves.items()
    }  # fmt: skip
    more = found["with"][0] - found["without"][0]
    draws = [a - b for a, b in zip(found["with"][1], found["without"][1], strict=True)]
    return {
        "n_prompts": int(flat.size),
        "models": list(table.models),
        "at_score_of": field.models[best],
        "expected_costs_from": source,
        "saving_without": _json(interval(*found["without"])),
        "saving_with": _json(interval(*found["with"])),
        "difference": _json(interval(more, draws)),
    }


def _json(found: Interval) -> dict[str, Any]:
    return {"share": found.value, "ci95": [found.low, found.high]}
