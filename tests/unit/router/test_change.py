"""The price of a change of model: what each request costs, what the choice counts, what is kept."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from router.choice import BudgetMode, Decision, RoutingRequest, decide
from router.constraints import Constraints, FurtherBudget
from router.cost import RequestShape, actual_cost_usd
from router.cost import Usage as Tokens
from router.cvxpy_lp import GeneralLp
from router.errors import BudgetInfeasibleError
from router.objective import Objective

N_INPUT = 10_000
SHAPE = RequestShape(input_tokens=N_INPUT, input_tokens_upper_bound=40_000)
BOTH = {"a": 300, "b": 300}


def card(name: str, usd: int, output: int = 0, *, write: bool = False) -> ModelCard:
    """A model with cached input at a tenth of the price, and writes at one and a quarter of it."""
    price = Decimal(usd)
    prices = Prices(
        input_usd_per_mtok=price,
        output_usd_per_mtok=Decimal(output),
        cached_input_usd_per_mtok=price / 10,
        cache_write_usd_per_mtok=price * 5 / 4 if write else None,
        cache_write_1h_usd_per_mtok=price * 2 if write else None,
    )
    return ModelCard(
        name=name, provider="p", upstream_model=name, leaderboard_name=name, prices=prices
    )


def decided(
    a: float,
    b: float,
    cards: tuple[ModelCard, ...] = (card("a", 10), card("b", 10)),
    variance: list[float] | None = None,
    draw: float = 0.5,
    lane: GeneralLp | None = None,
    **asked: Any,
) -> Decision:
    """a, b: coefficients, against an opponent at 0."""
    board = PromptLeaderboard(
        PreferenceFamily.GRK,
        ("a", "b", "z"),
        np.array([a, b, 0.0]),
        variance=None if variance is None else np.array([*variance, 0.0]),
    )
    request = RoutingRequest(**{"shape": SHAPE, "opponents": {"z": 1.0}, **asked})

    class Draw(random.Random):
        def random(self) -> float:
            return draw

    return decide(board, cards, request, Draw(), lane)


def costs_of(decision: Decision, model: str) -> tuple[Decimal | None, ...]:
    found = next(c for c in decision.candidates if c.card.name == model)
    return found.expected_cost_usd, found.warm_cost_usd, found.mean_cost_usd


@pytest.mark.parametrize(("kept_s", "kind"), [(300, "5m"), (3600, "1h")])
def test_what_a_request_costs_is_what_the_provider_bills(kept_s: int, kind: str) -> None:
    cards = (card("a", 10, write=True), card("b", 10))
    decision = decided(
        1, 0, cards, cached_tokens={"a": 9_000}, caching={"a": kept_s}, further_requests=3.0
    )
    first, warm, mean = costs_of(decision, "a")
    written = {"cache_write_tokens" if kind == "5m" else "cache_write_1h_tokens": 1_000}
    now = Tokens(prompt_tokens=N_INPUT, completion_tokens=0, cached_tokens=9_000, **written)
    later = Tokens(prompt_tokens=N_INPUT, completion_tokens=0, cached_tokens=N_INPUT)
    assert first == actual_cost_usd(cards[0], now)
    assert warm == actual_cost_usd(cards[0], later)
    assert first is not None
    assert warm is not None
    assert mean == (first + 3 * warm) / 4
    assert costs_of(decision, "b") == (Decimal("0.1"), None, Decimal("0.1"))


def test_without_later_requests_only_this_one_counts() -> None:
    decision = decided(1, 0, caching=BOTH)
    assert costs_of(decision, "a") == (Decimal("0.1"), None, Decimal("0.1"))
    assert decision.mix_expected_cost_usd == decision.mix_mean_cost_usd == Decimal("0.1")


@pytest.mark.parametrize(
    ("further", "model"), [(0.0, "b"), (1.0, "b"), (8.0, "b"), (9.0, "a"), (50.0, "a")]
)
def test_the_price_of_a_change_is_spread_over_the_rest_of_the_job(
    further: float, model: str
) -> None:
    """The change to the better model costs 0.09 USD, once. It gains 0.0987 of a win, which is worth
    0.1 USD, in this request and in each later one: with nine of them it is worth its price."""
    decision = decided(
        0.4, 0.0, cached_tokens={"b": N_INPUT}, caching=BOTH,
        further_requests=further, usd_per_win=Decimal("0.1"), held="b",
    )  # fmt: skip
    assert decision.model == model
    assert decision.is_held is (model == "b"), "without a cache it would be the better one"


def test_the_budget_limits_the_mean_and_not_the_first_request() -> None:
    """The better model costs 0.1 USD once and 0.01 from then on: 0.025 in the mean of six."""
    cards = (card("a", 10), card("b", 1))
    asked = {"caching": BOTH, "budget_usd": Decimal("0.03")}
    decision = decided(1, 0, cards, further_requests=5.0, **asked)
    assert decision.mix == {"a": 1.0}
    assert decision.expected_cost_usd == decision.mix_expected_cost_usd == Decimal("0.1")
    assert decision.mix_mean_cost_usd == pytest.approx(Decimal("0.025"), abs=Decimal("1e-9"))
    alone = decided(1, 0, cards, **asked)
    assert len(alone.mix) == 2
    assert alone.mix_mean_cost_usd == alone.mix_expected_cost_usd
    assert alone.mix_expected_cost_usd is not None
    assert alone.mix_expected_cost_usd <= Decimal("0.03")


def test_what_no_model_can_do_for_the_budget_now_is_refused_by_what_it_costs_now() -> None:
    with pytest.raises(BudgetInfeasibleError) as refused:
        decided(1, 0, caching=BOTH, further_requests=50.0, budget_usd=Decimal("0.05"))
    assert "0.1" in str(refused.value)


def test_hard_mode_and_ceilings_look_at_this_request_alone() -> None:
    cards = (card("a", 10, 1), card("b", 1, 1))
    for limit in ({"budget_usd": Decimal("0.1"), "budget_mode": BudgetMode.HARD},
                  {"ceiling_usd": Decimal("0.1")}):  # fmt: skip
        decision = decided(1, 0, cards, caching=BOTH, further_requests=50.0, **limit)
        assert decision.model == "b"


@pytest.mark.parametrize(
    ("gain", "min_gain", "model"),
    [(0.015, 0.02, "b"), (0.025, 0.02, "a"), (0.0, 0.0, "b"), (0.001, 0.0, "a")],
)
def test_a_change_must_gain_something(gain: float, min_gain: float, model: str) -> None:
    better = float(np.log((0.5 + gain) / (0.5 - gain)))
    decision = decided(better, 0.0, held="b", min_gain=min_gain)
    assert decision.model == model
    assert decision.mix == {model: 1.0}
    assert decision.is_held is (model == "b")
    assert ("a change is not worth its price" in decision.explanation) is (model == "b")
    assert decided(better, 0.0, min_gain=min_gain).model == "a", "the job's first request"


@pytest.mark.parametrize(
    ("variance", "model"), [(None, "a"), ([0.0, 0.0], "a"), ([0.1, 0.0], "b"), ([0.0, 0.1], "b")]
)
def test_a_change_must_gain_more_than_one_standard_deviation(
    variance: list[float] | None, model: str
) -> None:
    """A gain of 0.05 of a win rate near a half, where the coefficient's deviation is 0.32, so that
    of the win rate is 0.08."""
    for objective in (Objective.WIN_RATE, Objective.P_GOOD):
        decision = decided(
            0.2, 0.0, variance=variance, held="b", min_gain=0.02, objective=objective
        )
        assert decision.model == model


def test_two_efforts_of_a_model_are_wrong_by_the_same_amount() -> None:
    """So that a gain from one to the other is as sure as if the model itself were known."""
    low = replace(card("a", 10), name="a:low", effort="low", coefficient_shift=-0.3)
    high = replace(card("a", 10), name="a:high", effort="high")
    for cards, model in (((low, high), "a:high"), ((card("b", 10), high), "b")):
        held = "a:low" if low in cards else "b"
        decision = decided(0.1, -0.1, cards, [0.5, 0.0], held=held, min_gain=0.02)
        assert decision.model == model


def test_where_cost_chooses_there_is_no_least_gain() -> None:
    for asked in (
        {"usd_per_win": Decimal(1_000)},
        {"budget_usd": Decimal("0.05")},
    ):
        cards = (card("a", 10), card("b", 4))
        decision = decided(0.01, 0.0, cards, held="b", min_gain=0.02, draw=0.99, **asked)
        assert "a" in decision.mix
        assert not decision.is_held


def test_a_budget_that_does_not_bind_is_as_none() -> None:
    decision = decided(0.01, 0.0, held="b", min_gain=0.02, budget_usd=Decimal(1))
    assert decision.model == "b"
    assert decision.is_held
    cards = (card("a", 1), card("b", 100))
    dear = decided(0.01, 0.0, cards, held="b", min_gain=0.02, budget_usd=Decimal("0.1"))
    assert dear.model == "a", "the held one is over the budget"


def test_a_held_model_that_cannot_answer_is_left() -> None:
    decision = decided(0.01, 0.0, held="b", min_gain=0.02, excluded={"b": "rests"})
    assert decision.model == "a"
    assert not decision.is_held


def test_the_cache_decides_between_equals() -> None:
    decision = decided(0, 0, cached_tokens={"b": 9_000}, caching=BOTH, further_requests=1.0)
    assert decision.model == "b"
    assert decided(0, 0).model == "a", "by name"


def test_the_draw_of_a_mix_is_not_held() -> None:
    """The dear model is drawn with or without its cache."""
    cards = (card("a", 10), card("b", 1))
    asked = {"budget_usd": Decimal("0.05"), "caching": BOTH, "held": "a", "min_gain": 0.02}
    warm = decided(1, 0, cards, cached_tokens={"a": 5_000}, draw=0.9, **asked)
    assert (warm.model, warm.is_held) == ("a", False)
    between = decided(1, 0, cards, cached_tokens={"a": 5_000}, draw=0.4, **asked)
    assert (between.model, between.is_held) == ("a", True), "cold, it would be the cheap one"


@given(
    st.floats(0, 30), st.integers(0, N_INPUT), st.integers(0, N_INPUT), st.integers(1, 2_000),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=examples(200), deadline=None)
def test_the_mean_keeps_the_budget(
    further: float, held_a: int, held_b: int, budget: int, write: bool
) -> None:
    cards = (card("a", 10, 3, write=write), card("b", 1, 1, write=write))
    asked: dict[str, Any] = {
        "caching": BOTH,
        "cached_tokens": {"a": held_a, "b": held_b},
        "budget_usd": Decimal(budget) / 10_000,
        "further_requests": further,
    }
    try:
        decision = decided(1, 0, cards, **asked)
    except BudgetInfeasibleError:
        firsts = [c.expected_cost_usd for c in decided(1, 0, cards, **asked | {"budget_usd": None})
                  .candidates]  # fmt: skip
        assert all(cost is not None and cost > asked["budget_usd"] for cost in firsts)
        return
    assert decision.mix_mean_cost_usd is not None
    assert decision.mix_mean_cost_usd <= asked["budget_usd"]
    for candidate in decision.candidates:
        first, mean = candidate.expected_cost_usd, candidate.mean_cost_usd
        assert mean is not None
        assert first is not None
        assert mean <= first


def test_a_lowered_budget_lowers_the_draw_and_refuses_nothing() -> None:
    cards = (card("a", 10), card("b", 1))
    whole = decided(1, 0, cards, budget_usd=Decimal("0.04"))
    assert whole.mix["a"] == pytest.approx(1 / 3)
    half = decided(1, 0, cards, budget_usd=Decimal("0.04"), draw_budget_usd=Decimal("0.02"))
    assert half.mix["a"] == pytest.approx(1 / 9)
    assert half.budget_usd == Decimal("0.04"), "the caller's own is what is told"
    least = decided(1, 0, cards, budget_usd=Decimal("0.04"), draw_budget_usd=Decimal("0.0001"))
    assert least.mix == {"b": 1.0}
    request = least.request
    hard = replace(request, budget_mode=BudgetMode.HARD, budget_usd=Decimal(1))
    board = PromptLeaderboard(PreferenceFamily.BT, ("a", "b", "z"), np.array([1.0, 0.0, 0.0]))
    assert decide(board, cards, hard, random.Random(1)).model == "a"


def test_constraints_count_with_the_mean_and_are_not_broken_by_a_lowered_budget() -> None:
    cards = (card("a", 10), card("b", 1))
    rows = Constraints(min_value=0.55, budgets=(FurtherBudget(
        name="dear", amount_usd=Decimal("0.03"), models=("a",)),))  # fmt: skip
    asked = {"caching": BOTH, "constraints": rows, "budget_usd": Decimal("0.05")}
    lane = GeneralLp()
    decision = decided(1, 0, cards, further_requests=9.0, lane=lane, **asked)
    assert decision.mix["a"] > 0.2, "in the mean a costs 0.019 USD"
    assert decision.lane == "solver"
    lowered = decided(1, 0, cards, further_requests=9.0, lane=lane,
                      draw_budget_usd=Decimal("0.002"), **asked)  # fmt: skip
    assert lowered.mix == pytest.approx(decision.mix), "the floor cannot be kept within it"
    held = decided(0.01, 0.0, held="b", min_gain=0.02, constraints=Constraints(max_latency_s=9.0))
    assert not held.is_held, "constraints choose by themselves"
