"""Encodes a leaderboard as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from p2l_model.types import FloatArray, PromptLeaderboard
from router.choice import Alternative
from router.objective import opponent_weights, posterior_scales, win_rates

_NOTHING: Final[Mapping[str, Any]] = {"sd": None, "interval80": None, "rests_on": None}


def leaderboard_json(
    board: PromptLeaderboard,
    catalogue: Mapping[str, Alternative] | None = None,
    further: Sequence[Alternative] = (),
    certain: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The leaderboard, best model first. win_rate: against an opponent drawn uniformly from it.

    catalogue: candidates that have a column of their own, by its name: where the gateway has moved
    them, their rows say so. further: candidates without one, and those at one effort each, which
    are rows of their own and no opponents. certain: what `certainty` says, by catalogue name.
    """
    opponents = opponent_weights(board.models, board.coefficients, None)
    rates = win_rates(board.coefficients, *opponents)
    known, sure = catalogue or {}, certain or {}
    rows = [
        _row(board, index, float(rates[index]))
        if known.get(name) is None
        else _candidate(known[name], name, opponents, sure, _tokens(board, index))
        for index, name in enumerate(board.models)
    ]
    rows += [
        _candidate(one, one.model, opponents, sure, None)
        for one in further
        if one.coefficient is not None
    ]
    rows.sort(key=lambda row: (math.isnan(row["coefficient"]), -row["coefficient"]))
    ranked = [{"model": row["model"], "rank": rank} | row for rank, row in enumerate(rows, 1)]
    return {"object": "leaderboard", "family": board.family.value, "data": ranked, "eta": board.eta}


def _candidate(
    one: Alternative,
    name: str,
    opponents: tuple[FloatArray, FloatArray],
    certain: Mapping[str, Mapping[str, Any]],
    tokens: float | None,
) -> dict[str, Any]:
    """The row of a candidate. tokens: of the leaderboard, where it is not known for the model."""
    coefficient = math.nan if one.coefficient is None else one.coefficient
    known = certain.get(one.model, _NOTHING)
    sd = np.array([known["sd"] or 0.0])
    rate = win_rates(np.array([coefficient]), *opponents, posterior_scales(sd))
    cost_usd, own = one.expected_cost_usd, one.expected_output_tokens
    return {
        "model": name,
        "coefficient": coefficient,
        "win_rate": float(rate[0]),
        "expected_output_tokens": tokens if own is None else own,
        "expected_cost_usd": None if cost_usd is None else float(cost_usd),
        **known,
    }


def _row(board: PromptLeaderboard, index: int, win_rate: float) -> dict[str, Any]:
    return {
        "model": board.models[index],
        "coefficient": float(board.coefficients[index]),
        "win_rate": win_rate,
        "expected_output_tokens": _tokens(board, index),
        "expected_cost_usd": None,
        **_NOTHING,
    }


def _tokens(board: PromptLeaderboard, index: int) -> float | None:
    if board.expected_output_tokens is None:
        return None
    value = float(board.expected_output_tokens[index])
    return value if math.isfinite(value) else None
