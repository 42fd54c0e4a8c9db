"""The sentence about a decision says what was chosen, at what cost, and what more would buy."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from router.choice import BudgetMode, RoutingRequest, decide
from router.cost import RequestShape
from router.explain import explain

BOARD = PromptLeaderboard(
    PreferenceFamily.BT,
    ("dear", "cheap"),
    np.log([3.0, 1.0]),
    expected_output_tokens=np.array([900.0, 900.0]),
)


def card(name: str, usd_per_mtok: str) -> ModelCard:
    price = Decimal(usd_per_mtok)
    prices = Prices(input_usd_per_mtok=price, output_usd_per_mtok=price)
    return ModelCard(
        name=name, leaderboard_name=name, provider="p", upstream_model=name, prices=prices
    )


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "dear: 62.5% win rate at 0.0040 USD"),
        (
            {"budget_usd": Decimal("0.001")},
            "cheap: 37.5% win rate at 0.0010 USD; dear would add 25.0 points for 4.0x the cost",
        ),
        (
            {"usd_per_win": Decimal("0.01")},
            "cheap: 37.5% win rate at 0.0010 USD; dear would add 25.0 points for 4.0x the cost, "
            "not worth it at 0.01 USD a win",
        ),
        (
            {"usd_per_win": Decimal("0.0004995742006291704")},
            "cheap: 37.5% win rate at 0.0010 USD; dear would add 25.0 points for 4.0x the cost, "
            "not worth it at 0.0005 USD a win",
        ),
        (
            {"budget_usd": Decimal("0.0012"), "budget_mode": BudgetMode.HARD},
            "cheap: 37.5% win rate at 0.0010 USD, 0.0012 USD at most with answers of up to 1100 "
            "tokens; dear would add 25.0 points for 4.0x the cost",
        ),
    ],
)
def test_what_is_said(asked: dict[str, Any], sentence: str) -> None:
    shape = RequestShape(input_tokens=100, input_tokens_upper_bound=100)
    request = RoutingRequest(shape=shape, **asked)
    decision = decide(BOARD, (card("dear", "4"), card("cheap", "1")), request, random.Random(0))
    assert explain(decision) == sentence
