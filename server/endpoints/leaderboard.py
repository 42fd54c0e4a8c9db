"""Encodes a leaderboard as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from p2l_model.types import PromptLeaderboard
from router.choice import Alternative
from router.objective import opponent_weights, win_rates


def leaderboard_json(
    board: PromptLeaderboard, catalogue: Mapping[str, Alternative] | None = None
) -> dict[str, Any]:
    """The leaderboard, best model first. win_rate: against an opponent drawn uniformly from it.

    catalogue: candidates whose expected cost is known, by leaderboard name.
    """
    opponents, weights = opponent_weights(board.models, board.coefficients, None)
    rates = win_rates(board.coefficients, opponents, weights)
    costs = catalogue or {}
    order = np.argsort(-board.coefficients, kind="stable")
    rows = [
        _row(board, int(index), rank, float(rates[index]), costs.get(board.models[index]))
        for rank, index in enumerate(order, 1)
    ]
    return {"object": "leaderboard", "family": board.family.value, "data": rows, "eta": board.eta}


def _row(
    board: PromptLeaderboard, index: int, rank: int, win_rate: float, known: Alternative | None
) -> dict[str, Any]:
    tokens = _tokens(board, index)
    cost_usd = None
    if known is not None:
        tokens = known.expected_output_tokens
        cost_usd = None if known.expected_cost_usd is None else float(known.expected_cost_usd)
    return {
        "model": board.models[index],
        "rank": rank,
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
