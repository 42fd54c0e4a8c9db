"""Decisions: eligibility first, then the optimum, then the draw."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from router.choice import BudgetMode, Decision, Objective, RoutingRequest, decide
from router.cost import RequestShape
from router.errors import (
    BudgetInfeasibleError,
    InvalidRoutingError,
    NoEligibleModelError,
    WindowExhaustedError,
)

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
    assert error.value.reasons["fair"] == "it lacks vision"
    assert error.value.reasons["good"] == "it is not in the allow-list"


def test_an_unknown_price_is_never_zero() -> None:
    cards = (card("good", None), card("fair", 1))
    assert ask(cards=cards).model == "good"
    assert ask(cards=cards).expected_cost_usd is None
    decision = ask(cards=cards, budget_usd=Decimal(1))
    assert decision.model == "fair"


def test_opponents_may_be_outside_the_catalogue() -> None:
    decision = ask(opponents={"elsewhere": 5.0})
    assert decision.win_rate == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_a_win_has_a_price() -> None:
    """good adds 0.27 win rate for 0.0018 USD: worth it from 0.0066 USD a win on."""
    assert ask(usd_per_win=Decimal(1)).model == "good"
    frugal = ask(usd_per_win=Decimal("0.005"), budget_usd=Decimal("0.01"))
    assert frugal.model == "fair"
    assert frugal.mix == {"fair": 1.0}
    assert "not worth it at 0.005 USD a win" in frugal.explanation
    assert frugal.shadow_price == 0, "the budget does not bind"
    tight = ask(usd_per_win=Decimal(1), budget_usd=Decimal("0.0011"))
    assert tight.mix == pytest.approx({"fair": 0.5, "good": 0.5})
    assert "not worth" not in tight.explanation


@pytest.mark.parametrize("length", [50.0, 5000.0])
def test_what_a_hard_budget_is_expected_to_cost_counts_its_cap(length: float) -> None:
    """An answer that the cap will end cannot be expected to be longer."""
    budget = Decimal("0.001")
    asked = RoutingRequest(shape=SHAPE, budget_usd=budget, budget_mode=BudgetMode.HARD)
    board = replace(BOARD, expected_output_tokens=np.full(4, length))
    decision = decide(board, CARDS, asked, random.Random(0))
    cap = decision.max_output_tokens
    assert cap is not None
    (row,) = [row for row in decision.alternatives if row.model == decision.model]
    assert row.expected_output_tokens == min(length, cap)
    assert decision.expected_cost_usd is not None
    assert decision.worst_case_cost_usd is not None
    assert decision.expected_cost_usd <= decision.worst_case_cost_usd <= budget


def test_hard_mode_and_a_price_of_a_win() -> None:
    hard: dict[str, Any] = {"budget_mode": BudgetMode.HARD, "budget_usd": Decimal("0.05")}
    assert ask(**hard).model == "good"
    frugal = ask(**hard, usd_per_win=Decimal("0.005"))
    assert frugal.model == "fair"
    assert frugal.max_output_tokens is not None
    assert frugal.worst_case_cost_usd is not None
    assert frugal.worst_case_cost_usd <= Decimal("0.05")


def test_a_model_of_unknown_price_cannot_be_weighed() -> None:
    decision = ask(cards=(card("good", None), card("fair", 1)), usd_per_win=Decimal(1))
    assert decision.model == "fair"


def test_what_is_left_of_a_window_is_kept_to_in_the_worst_case() -> None:
    """Caps of 1000 tokens: good can cost 0.014, fair 0.0014, poor 0.00014 USD."""
    capped = replace(SHAPE, max_output_tokens=1000)
    assert ask(shape=capped, available_usd=Decimal("0.014")).model == "good"
    assert ask(shape=capped, available_usd=Decimal("0.01")).model == "fair"
    rows = {row.model: row for row in ask(shape=capped, available_usd=Decimal("0.01")).alternatives}
    assert "window" in (rows["good"].reason or "")
    with pytest.raises(WindowExhaustedError) as error:
        ask(shape=replace(capped, max_output_tokens=800), available_usd=Decimal("0.0001"))
    assert error.value.least_usd == Decimal("0.00012")


SCORED = replace(
    BOARD, family=PreferenceFamily.GRK, expected_scores=np.array([0.5, 0.9, 0.1, np.nan])
)


def test_other_objectives() -> None:
    request = RoutingRequest(shape=SHAPE, objective=Objective.EXPECTED_SCORE)
    decision = decide(SCORED, CARDS, request, random.Random(0))
    assert (decision.model, decision.value) == ("fair", 0.9)
    assert decision.win_rate == pytest.approx(ask().alternatives[1].win_rate)
    assert "expected score 0.900" in decision.explanation
    good = decide(SCORED, CARDS, replace(request, objective=Objective.P_GOOD), random.Random(0))
    assert good.model == "good"
    assert good.value == pytest.approx(1 / (1 + np.exp(-2.0)))
    for objective in (Objective.P_GOOD, Objective.EXPECTED_SCORE):
        with pytest.raises(InvalidRoutingError, match="needs a checkpoint"):
            ask(objective=objective)


def test_own_token_counts_and_a_warm_cache_change_the_cost() -> None:
    plain = {row.model: row.expected_cost_usd for row in ask().alternatives}
    counted = {
        row.model: row.expected_cost_usd for row in ask(input_tokens={"good": 200}).alternatives
    }
    assert counted == plain | {"good": Decimal("0.003")}
    prices = replace(CARDS[0].prices, cached_input_usd_per_mtok=Decimal(1))
    cached = ask(cards=(replace(CARDS[0], prices=prices),), cached_tokens={"good": 80})
    assert cached.expected_cost_usd == Decimal("0.00128")


@given(st.integers(0, 10**6))
def test_each_decision_takes_one_draw(seed: int) -> None:
    rng = random.Random(seed)
    for mode in BudgetMode:
        request = RoutingRequest(shape=SHAPE, budget_usd=Decimal("0.0011"), budget_mode=mode)
        decide(BOARD, CARDS, request, rng)
    expected = random.Random(seed)
    expected.random(), expected.random()
    assert rng.random() == expected.random()


MEAN = Decimal("0.0005")


def mixed(budget: Decimal, draw_seed: int, **request: Any) -> Decision:
    return ask(draw_seed, CARDS[:2], budget_usd=budget, **request)


def test_a_kept_model_answers_where_it_may() -> None:
    assert ask(kept="poor").model == "poor"
    assert ask(kept="poor").is_kept
    assert ask(kept="poor").mix == {"good": 1.0}, "the mix is what would have been drawn from"
    for gone, why in (
        ({"excluded": {"poor": "it rests"}}, "poor: it rests"),
        ({"allowed": ("good",)}, "poor: it is not in the allow-list"),
        ({"shape": replace(SHAPE, input_tokens=2000)}, "poor: its context of 1000 tokens"),
    ):
        decision = ask(kept="poor", **gone)
        assert decision.model == "good"
        assert not decision.is_kept
        assert (decision.kept_note or "").startswith(why)
    assert ask(kept="nobody").kept_note == "nobody: it is no longer in the catalogue"
    assert ask().kept_note is None


def test_a_kept_model_may_have_a_limit() -> None:
    cost = ask(kept="good").expected_cost_usd
    assert cost is not None
    assert ask(kept="good", kept_limit_usd=cost).is_kept
    over = ask(kept="good", kept_limit_usd=cost - Decimal("1e-9"), allowed=("good", "fair"))
    assert over.kept_note == "good: its expected cost is over the budget, now lower"


@given(seed=st.integers(0, 2**32), names=st.permutations(["good", "fair"]))
def test_an_order_changes_who_has_which_part_of_the_draw_and_nothing_else(
    seed: int, names: list[str]
) -> None:
    plain, ordered = mixed(MEAN, seed), mixed(MEAN, seed, order=tuple(names))
    assert ordered.mix == plain.mix
    assert ordered.draw == plain.draw
    first, second = names
    expected = first if Decimal(ordered.draw) < Decimal(ordered.mix[first]) else second
    assert ordered.model == expected


@given(seed=st.integers(0, 2**32), names=st.permutations(["good", "fair"]), more=st.floats(0, 1))
def test_one_draw_follows_the_mix(seed: int, names: list[str], more: float) -> None:
    """The same draw in the same order: a model changes only into one whose share has grown."""
    order = tuple(names)
    budget = MEAN * (1 + Decimal(more) / 10)
    before, after = mixed(MEAN, seed, order=order), mixed(budget, seed, order=order)
    if before.model != after.model:
        assert after.mix[after.model] > before.mix.get(after.model, 0.0)
    if before.mix == after.mix:
        assert before.model == after.model
