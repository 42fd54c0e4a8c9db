"""Costs by independent arithmetic, and the promise of a hard cap."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog import ModelCard, Prices
from router.cost import (
    RequestShape,
    Usage,
    actual_cost_usd,
    expected_cost_usd,
    largest_output_cap,
    worst_case_cost_usd,
)

FULL = Prices(
    input_usd_per_mtok=Decimal(5),
    output_usd_per_mtok=Decimal(15),
    cached_input_usd_per_mtok=Decimal("2.5"),
    cache_write_usd_per_mtok=Decimal("6.25"),
    reasoning_usd_per_mtok=Decimal(20),
    audio_input_usd_per_mtok=Decimal(40),
    audio_output_usd_per_mtok=Decimal(80),
    request_usd=Decimal("0.001"),
)
PLAIN = Prices(input_usd_per_mtok=Decimal(5), output_usd_per_mtok=Decimal(15))


def card(prices: Prices | None = PLAIN, **limits: int) -> ModelCard:
    return ModelCard(
        name="m", provider="p", upstream_model="m", leaderboard_name="m", prices=prices, **limits
    )


def shape(cap: int | None = None, n: int = 1, tokens: int = 100) -> RequestShape:
    return RequestShape(
        input_tokens=tokens, input_tokens_upper_bound=4 * tokens, max_output_tokens=cap, n=n
    )


def test_a_tier_is_bounded_by_the_dearer_price_and_never_by_a_guess() -> None:
    twice, half = FULL.times(Decimal(2)), FULL.times(Decimal("0.5"))
    assert twice.request_usd == FULL.request_usd
    model = replace(card(FULL), tier_prices={"priority": twice, "flex": half})
    normal = worst_case_cost_usd(model, shape(), 500)
    assert normal is not None
    tokens = normal - FULL.request_usd
    for tier, worst in (("priority", 2 * tokens), ("flex", tokens), ("batch", tokens)):
        asked = replace(shape(), tier=tier)
        assert worst_case_cost_usd(model, asked, 500) == worst + FULL.request_usd
        cap = largest_output_cap(model, asked, normal)
        assert cap == 500 if tier != "priority" else cap is None or cap < 500
    unknown = replace(shape(), tier="scale")
    assert worst_case_cost_usd(model, unknown, 500) is None
    assert largest_output_cap(model, unknown, Decimal(9)) is None
    assert expected_cost_usd(model, unknown, 100.0) is None


@pytest.mark.parametrize(
    ("usage", "prices", "microdollars"),
    [
        (Usage(prompt_tokens=100, completion_tokens=10), PLAIN, 500 + 150),
        (Usage(prompt_tokens=100, completion_tokens=10, cached_tokens=40), PLAIN, 500 + 150),
        (Usage(prompt_tokens=100, completion_tokens=10, cached_tokens=40), FULL, 300 + 100 + 150),
        (Usage(prompt_tokens=100, completion_tokens=0, cache_write_tokens=8), FULL, 460 + 50),
        (Usage(prompt_tokens=0, completion_tokens=10, reasoning_tokens=4), FULL, 90 + 80),
        (Usage(prompt_tokens=10, completion_tokens=10, audio_input_tokens=10), FULL, 400 + 150),
        (Usage(prompt_tokens=0, completion_tokens=10, audio_output_tokens=10), FULL, 800),
        (Usage(prompt_tokens=10, completion_tokens=0, cached_tokens=99), FULL, 25),
        (Usage(prompt_tokens=10, completion_tokens=0, cached_tokens=-5), FULL, 50),
    ],
)
def test_actual_cost(usage: Usage, prices: Prices, microdollars: int) -> None:
    cost = actual_cost_usd(card(prices), usage)
    assert cost == Decimal(microdollars) / 10**6 + prices.request_usd


def test_expected_cost() -> None:
    assert expected_cost_usd(card(), shape(), 200.0) == Decimal("0.0035")
    assert expected_cost_usd(card(), shape(n=3), 200.0) == Decimal("0.0095")
    assert expected_cost_usd(card(), shape(cap=50), 200.0) == Decimal("0.00125")
    assert expected_cost_usd(card(max_output_tokens=10), shape(), 200.0) == Decimal("0.00065")
    assert expected_cost_usd(card(), shape(), None) == Decimal("0.005")
    assert expected_cost_usd(card(expected_output_tokens=100), shape(), float("nan")) == Decimal(
        "0.002"
    )
    assert expected_cost_usd(card(None), shape(), 200.0) is None


@given(
    st.decimals(min_value=0, max_value=1, places=6),
    st.integers(1, 5000),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 4000)),
    st.integers(1, 10000),
    st.data(),
)
def test_a_hard_cap_never_costs_more_than_the_budget(
    budget: Decimal, tokens: int, n: int, cap: int | None, ceiling: int, data: st.DataObject
) -> None:
    model, request = card(FULL, max_output_tokens=ceiling), shape(cap, n, tokens)
    allowed = largest_output_cap(model, request, budget)
    if allowed is None:
        floor = min(cap or 256, ceiling)
        worst = worst_case_cost_usd(model, request, floor)
        assert worst is not None
        assert worst > budget
        return
    assert allowed <= ceiling or allowed <= (cap or ceiling)
    assert allowed >= min(256, cap or 256, ceiling)
    completion = data.draw(st.integers(0, allowed)) * n
    prompt = data.draw(st.integers(0, request.input_tokens_upper_bound)) * n
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cache_write_tokens=data.draw(st.integers(0, prompt)),
        audio_input_tokens=data.draw(st.integers(0, prompt)),
        reasoning_tokens=data.draw(st.integers(0, completion)),
        audio_output_tokens=data.draw(st.integers(0, completion)),
    )
    cost = actual_cost_usd(model, usage)
    assert cost is not None
    assert cost <= budget


def test_a_cap_under_256_tokens_is_for_callers_who_asked_for_it() -> None:
    budget = Decimal("0.0030")  # input at worst 0.002, leaves 66 tokens
    assert largest_output_cap(card(), shape(), budget) is None
    assert largest_output_cap(card(), shape(cap=60), budget) == 60
    assert largest_output_cap(card(), shape(cap=67), budget) is None
    assert largest_output_cap(card(None), shape(), budget) is None


def test_a_budget_as_large_as_a_number_can_be_still_has_a_cap() -> None:
    shape = RequestShape(input_tokens=10, input_tokens_upper_bound=20)
    for prices in (PLAIN, Prices(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))):
        dear = card(prices, max_output_tokens=4096)
        assert largest_output_cap(dear, shape, Decimal("1e308")) == 4096
