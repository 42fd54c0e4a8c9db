"""Money as it is billed: by the length of the prompt, with fees, in every dialect's usage."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from router.catalog import LongPrompt, ModelCard, Prices
from router.cost import (
    RequestShape,
    Usage,
    actual_cost_usd,
    estimate,
    largest_output_cap,
    worst_case_cost_usd,
)
from server.catalogue.cards import build_catalogue
from server.config.file import parse_settings
from server.wire.surface import Surface
from server.wire.usage import (
    parse_usage,
    reported_cost,
    searches_in,
    tool_fees_usd,
    with_thoughts_of_total,
)


def prices(usd: str) -> Prices:
    return Prices(input_usd_per_mtok=Decimal(usd), output_usd_per_mtok=10 * Decimal(usd))


CARD = ModelCard(
    name="m",
    provider="p",
    upstream_model="m",
    leaderboard_name="m",
    prices=prices("1"),
    context_window=1_000_000,
    tier_prices={"priority": prices("3")},
    long_prompts={
        None: (LongPrompt(200_000, prices("2")), LongPrompt(500_000, prices("4"))),
        "priority": (LongPrompt(200_000, prices("6")),),
    },
)


@pytest.mark.parametrize(
    ("tier", "tokens", "usd"),
    [(None, 200_000, "1"), (None, 200_001, "2"), (None, 500_001, "4"), ("priority", 1, "3"),
     ("priority", 300_000, "6"), ("flex", 300_000, "2")],
)  # fmt: skip
def test_a_request_has_the_price_of_its_prompts_length(
    tier: str | None, tokens: int, usd: str
) -> None:
    found = CARD.prices_at(tier, tokens)
    assert found is not None
    assert found.input_usd_per_mtok == Decimal(usd)
    usage = Usage(prompt_tokens=tokens, completion_tokens=100)
    expected = (tokens + 1000) * Decimal(usd) / 1_000_000
    assert actual_cost_usd(CARD, usage, tier) == expected
    shape = RequestShape(input_tokens=tokens, input_tokens_upper_bound=tokens, tier=tier)
    assert estimate(CARD, shape, 100.0).cost_usd == expected


def test_a_bound_takes_the_dearest_step_that_the_prompt_may_reach() -> None:
    shape = RequestShape(
        input_tokens=150_000, input_tokens_upper_bound=600_000, max_output_tokens=100
    )
    assert worst_case_cost_usd(CARD, shape, 100) == Decimal("2.404")
    assert largest_output_cap(CARD, shape, Decimal("2.40")) is None
    assert largest_output_cap(CARD, shape, Decimal("2.41")) == 100
    # in a dear tier never under the normal price, which a long prompt can bring above the tier's
    dear = replace(shape, tier="priority")
    assert worst_case_cost_usd(CARD, dear, 0) == Decimal("3.6")


def test_listed_models_have_their_steps() -> None:
    cards = build_catalogue(
        parse_settings(
            """
providers: {g: {kind: gemini}, o: {base_url: "https://api.openai.com/v1"}}
models:
  gemini-2.5-pro: {provider: g}
  gpt-6.1-sol: {provider: o}
  own: {provider: g, upstream_model: gemini-2.5-pro, input_usd_per_mtok: 1, output_usd_per_mtok: 2}
"""
        ),
        datetime(2026, 11, 29, tzinfo=UTC),
    )
    gemini, gpt, own = cards
    for card, step in ((gemini, 200_000), (gpt, 272_000)):
        short, long = card.prices_at(None, step), card.prices_at(None, step + 1)
        assert short is not None
        assert long is not None
        assert long.input_usd_per_mtok == 2 * short.input_usd_per_mtok
        assert (card.context_window or 0) > step, "a long prompt is eligible"
    assert own.long_prompts == {}, "a price of the configuration's own holds for every prompt"


def test_a_search_has_a_fee() -> None:
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=0, web_searches=3)
    dear = replace(CARD, long_prompts={}, search_usd=Decimal("0.01"))
    assert actual_cost_usd(dear, usage) == Decimal("1.03")
    # better no figure than a wrong one
    assert actual_cost_usd(replace(dear, search_usd=None), usage) is None


def test_searches_are_found_among_the_items() -> None:
    items = [{"type": "web_search_call"}, {"type": "message"}, {"type": "web_search_call"}, 7]
    assert searches_in(items) == 2
    assert searches_in(None) == 0
    opened = {"type": "web_search_call", "action": {"type": "open_page", "url": "https://x.org"}}
    searched = {"type": "web_search_call", "action": {"type": "search", "query": "x"}}
    assert searches_in([opened, searched]) == 1


def test_searches_in_files_and_containers_have_fees() -> None:
    code = {"type": "code_interpreter_call", "container_id": "c1"}
    items = [{"type": "file_search_call"}, code, code, {**code, "container_id": "c2"}]
    assert tool_fees_usd([*items, {"type": "message"}, "odd"]) == Decimal("0.0625")
    assert tool_fees_usd(None) == 0


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"cost": 0.5}, "0.5"),
        ({"cost": {"input_tokens_cost": 0.1, "request_cost": 0.4, "total_cost": 0.5}}, "0.5"),
        ({"cost_in_usd_ticks": 127_344_000}, "0.0127344"),
        ({"cost": {}}, None),
        ({"cost": True, "cost_in_usd_ticks": -1}, None),
        ({}, None),
    ],
)
def test_the_costs_that_providers_state(usage: dict[str, Any], usd: str | None) -> None:
    assert reported_cost(usage) == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(
    ("counts", "output", "thoughts"),
    [((100, 40, 540), 440, 400), ((100, 40, 140), 40, 0), ((100, 40, 0), 40, 0),
     ((0, 40, 540), 40, 0)],
)  # fmt: skip
def test_thoughts_in_the_total_alone(
    counts: tuple[int, int, int], output: int, thoughts: int
) -> None:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    usage = dict(zip(names, counts, strict=True))
    found = parse_usage(usage)
    assert found is not None
    assert (found.completion_tokens, found.reasoning_tokens) == (counts[1], 0), "of other vendors"
    google = with_thoughts_of_total(found, usage)
    assert (google.completion_tokens, google.reasoning_tokens) == (output, thoughts)


CHAT, MESSAGES = Surface.CHAT, Surface.MESSAGES


@pytest.mark.parametrize(
    ("surface", "usage", "expected"),
    [
        # xAI: reasoning beside the completion
        (CHAT, {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20}},
         Usage(prompt_tokens=10, completion_tokens=25, reasoning_tokens=20)),
        # OpenAI: reasoning within it
        (CHAT, {"prompt_tokens": 10, "completion_tokens": 25, "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20}},
         Usage(prompt_tokens=10, completion_tokens=25, reasoning_tokens=20)),
        # Moonshot: cached tokens at the top
        (CHAT, {"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 8},
         Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=8)),
        (MESSAGES, {"input_tokens": 10, "output_tokens": 5,
                    "server_tool_use": {"web_search_requests": 2}},
         Usage(prompt_tokens=10, completion_tokens=5, web_searches=2)),
        # compaction: the last pass alone stands at the top
        (MESSAGES, {"input_tokens": 10, "output_tokens": 5, "iterations": [
            {"type": "compaction", "input_tokens": 1000, "output_tokens": 50},
            {"type": "message", "input_tokens": 10, "output_tokens": 5,
             "cache_read_input_tokens": 7}]},
         Usage(prompt_tokens=1017, completion_tokens=55, cached_tokens=7)),
        # never less than what stands at the top, whatever the passes say
        (MESSAGES, {"input_tokens": 10, "output_tokens": 5,
                    "iterations": [{"input_tokens": 1}, {"input_tokens": -5}]},
         Usage(prompt_tokens=10, completion_tokens=5)),
    ],
)  # fmt: skip
def test_usage_in_the_dialects(surface: Surface, usage: dict[str, Any], expected: Usage) -> None:
    assert parse_usage(usage, surface) == expected
