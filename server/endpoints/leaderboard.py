"""Encodes a leaderboard as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from p2l_model.types import PromptLeaderboard
from router.choice import Alternative
from router.objective import opponent_weights, win_rates


def leaderboard_json(
    board: PromptLeaderboard,
    catalogue: Mapping[str, Alternative] | None = None,
    columns: Sequence[Alternative] = (),
) -> dict[str, Any]:
    """The leaderboard, best model first. win_rate: against an opponent drawn uniformly from it.

    catalogue: candidates whose expected cost is known, by leaderboard name. columns: candidates at
    one effort each, which are rows of their own and no opponents.
    """
    opponents, weights = opponent_weights(board.models, board.coefficients, None)
    rates = win_rates(board.coefficients, opponents, weights)
    costs = catalogue or {}
    rows = [
        _row(board, index, float(rates[index]), costs.get(name))
        for index, name in enumerate(board.models)
    ]
    for one in columns:
        if one.coefficient is not None:
            own = win_rates(np.array([one.coefficient]), opponents, weights)
            rows.append(_column(one, float(own[0])))
    rows.sort(key=lambda row: (math.isnan(row["coefficient"]), -row["coefficient"]))
    ranked = [{"model": row["model"], "rank": rank} | row for rank, row in enumerate(rows, 1)]
    return {"object": "leaderboard", "family": board.family.value, "data": ranked, "eta": board.eta}


def _column(column: Alternative, win_rate: float) -> dict[str, Any]:
    cost_usd = column.expected_cost_usd
    return {
        "model": column.model,
        "coefficient": column.coefficient,
        "win_rate": win_rate,
        "expected_output_tokens": column.expected_output_tokens,
        "expected_cost_usd": None if cost_usd is None else float(cost_usd),
    }


def _row(
    board: PromptLeaderboard, index: int, win_rate: float, known: Alternative | None
) -> dict[str, Any]:
    tokens = _tokens(board, index)
    cost_usd = None
    if known is not None:
        tokens = known.expected_output_tokens
        cost_usd = None if known.expected_cost_usd is None else float(known.expected_cost_usd)
    return {
        "model": board.models[index],
        "coefficient": float(board.coefficients[index]),
        "win_rate": win_rate,
        "expected_output_tokens": tokens,
        "expected_cost_usd": cost_usd,
    }


def _tokens(board: PromptLeaderboard, index: int) -> float | None:
    if board.expected_output_tokens is None:
        return None
    value = float(board.expected_output_tokens[index])
    return value if math.isfinite(value) else None
