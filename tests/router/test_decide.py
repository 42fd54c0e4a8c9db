"""Decisions: eligibility first, then the optimum, then the draw."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from router.cost import RequestShape
from router.decide import BudgetMode, Decision, RoutingRequest, decide
from router.errors import BudgetInfeasibleError, NoEligibleModelError

BOARD = PromptLeaderboard(
    PreferenceFamily.BT,
    ("good", "fair", "poor", "elsewhere"),
    np.array([2.0, 0.5, -1.0, 0.0]),
    expected_output_tokens=np.array([100.0, 100.0, np.nan, 100.0]),
)
SHAPE = RequestShape(input_tokens=100, input_tokens_upper_bound=400)


def card(name: str, usd_per_mtok: float | None, **more: Any) -> ModelCard:
    prices = None
    if usd_per_mtok is not None:
        price = Decimal(str(usd_per_mtok))
        prices = Prices(input_usd_per_mtok=price, output_usd_per_mtok=price)
    values: dict[str, Any] = {"leaderboard_name": name, "prices": prices} | more
    return ModelCard(name=name, provider="p", upstream_model=name, **values)


CARDS = (
    card("good", 10),
    card("fair", 1, capabilities=frozenset({"tools"})),
    card("poor", 0.1, expected_output_tokens=100, context_window=1000),
    card("stranger", 1),
)


def ask(seed: int = 0, cards: tuple[ModelCard, ...] = CARDS, **request: Any) -> Decision:
    asked = RoutingRequest(**({"shape": SHAPE} | request))
    return decide(BOARD, cards, asked, random.Random(seed))


def test_without_a_budget_the_best_wins() -> None:
    decision = ask()
    assert decision.model == "good"
    assert decision.mix == {"good": 1.0}
    assert decision.expected_cost_usd == Decimal("0.002")
    assert decision.coefficient == pytest.approx(2.0)
    assert decision.shadow_price == 0
    assert "good" in decision.explanation
    assert [row.model for row in decision.alternatives] == ["good", "fair", "poor", "stranger"]


def test_a_binding_budget_mixes_neighbours_and_the_draw_follows_the_mix() -> None:
    budget = Decimal("0.0011")  # half way from fair (0.0002) to good (0.002)
    drawn = [ask(seed, budget_usd=budget) for seed in range(400)]
    first = drawn[0]
    assert first.mix == pytest.approx({"fair": 0.5, "good": 0.5})
    assert first.mix_expected_cost_usd == budget
    share = sum(decision.model == "good" for decision in drawn) / len(drawn)
    assert 0.4 < share < 0.6
    assert first.mix_win_rate == pytest.approx(
        sum(row.win_rate for row in first.alternatives if row.model in first.mix) / 2
    )
    assert ask(3, budget_usd=budget) == ask(3, budget_usd=budget)


def test_catalogue_order_does_not_change_a_seeded_decision() -> None:
    budget = Decimal("0.0011")
    for seed in range(20):
        assert (
            ask(seed, budget_usd=budget).model
            == ask(seed, tuple(reversed(CARDS)), budget_usd=budget).model
        )


def test_infeasible_names_the_cheapest_eligible_model() -> None:
    with pytest.raises(BudgetInfeasibleError) as error:
        ask(budget_usd=Decimal("0.00001"))
    assert error.value.cheapest_model == "poor"
    assert error.value.cheapest_cost_usd == Decimal("0.00002")
    assert ask(budget_usd=Decimal("0.00002")).model == "poor"
    with pytest.raises(BudgetInfeasibleError) as error:
        ask(budget_usd=Decimal("0.00001"), allowed=("fair", "good"))
    assert error.value.cheapest_model == "fair"


def test_hard_mode_takes_the_best_that_fits() -> None:
    decision = ask(budget_usd=Decimal("0.001"), budget_mode=BudgetMode.HARD)
    assert decision.model == "fair"
    assert decision.max_output_tokens == 600
    assert decision.worst_case_cost_usd == Decimal("0.001")
    with pytest.raises(BudgetInfeasibleError, match="worst-case"):
        ask(budget_usd=Decimal("0.00001"), budget_mode=BudgetMode.HARD)


@pytest.mark.parametrize(
    ("change", "model", "reason"),
    [
        ({"allowed": ("fair",)}, "good", "allow-list"),
        ({"excluded": {"good": "failed"}}, "good", "failed"),
        ({}, "stranger", "no coefficient for stranger"),
        ({"shape": replace(SHAPE, needs=frozenset({"vision"}))}, "fair", "lacks vision"),
        ({"shape": replace(SHAPE, input_tokens=1000)}, "poor", "context of 1000"),
    ],
)
def test_reasons(change: dict[str, Any], model: str, reason: str) -> None:
    rows = {row.model: row for row in ask(**change).alternatives}
    assert rows[model].eligible is False
    assert reason in (rows[model].reason or "")


def test_nobody_left_says_who_was_out_for_what() -> None:
    with pytest.raises(NoEligibleModelError) as error:
        ask(allowed=("fair",), shape=replace(SHAPE, needs=frozenset({"vision"})))
    assert error.value.reasons["fair"] == "lacks vision"
    assert error.value.reasons["good"] == "not in the allow-list"


def test_an_unknown_price_is_never_zero() -> None:
    cards = (card("good", None), card("fair", 1))
    assert ask(cards=cards).model == "good"
    assert ask(cards=cards).expected_cost_usd is None
    decision = ask(cards=cards, budget_usd=Decimal(1))
    assert decision.model == "fair"


def test_opponents_may_be_outside_the_catalogue() -> None:
    decision = ask(opponents={"elsewhere": 5.0})
    assert decision.win_rate == pytest.approx(1 / (1 + np.exp(-2.0)))
