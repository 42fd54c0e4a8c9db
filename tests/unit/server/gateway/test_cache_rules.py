"""How long each provider keeps a request in its prompt cache: by the facts, and by its marks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from router.catalog import ModelCard, Prices
from server.gateway.cache_rules import CacheRules
from server.model_facts import ModelFacts
from server.model_facts.book import bundled_book
from server.model_facts.types import Caching
from server.surfaces.chat.request import ChatRequest, parse_chat_request
from server.surfaces.messages.request import parse_messages_request

LONG = 50_000
MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def card(name: str, cached: str | None = "0.1") -> ModelCard:
    prices = Prices(
        input_usd_per_mtok=Decimal(1),
        output_usd_per_mtok=Decimal(1),
        cached_input_usd_per_mtok=None if cached is None else Decimal(cached),
    )
    return ModelCard(
        name=name, provider="p", upstream_model=name, leaderboard_name=name, prices=prices
    )


KINDS = {
    "automatic": Caching(kind="automatic", lifetimes_s=(300,), least_tokens=1024),
    "both": Caching(kind="both", lifetimes_s=(1800, 43200), least_tokens=1024),
    "marked": Caching(kind="marked", lifetimes_s=(300, 3600), least_tokens=4096),
    "none": Caching(kind="none"),
    "yes": Caching(kind="automatic", kept_at_other_effort="yes"),
    "marker": Caching(kind="automatic", kept_at_other_effort="marker"),
}
FACTS = {name: ModelFacts(name=name, known="model", caching=one) for name, one in KINDS.items()}
RULES = CacheRules([*map(card, [*KINDS, "stranger"]), card("unpriced", None)], FACTS)


def chat(*contents: Any, **fields: Any) -> ChatRequest:
    roles = ["user", "assistant"] * len(contents)
    turns = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    return parse_chat_request({"model": "p2l", "messages": turns, **fields})


def messages(content: Any = "Hello", **fields: Any) -> ChatRequest:
    turns = [{"role": "user", "content": content}]
    return parse_messages_request({"model": "p2l", "max_tokens": 9, "messages": turns, **fields})


def text(**fields: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "Hello", **fields}]


TOOL = {"name": "f", "input_schema": {"type": "object"}}
FUNCTION = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("request_", "seconds"),
    [
        (messages(), 0),
        (messages(tools=[TOOL]), 0),
        (messages(cache_control=MARK), 300),
        (messages(text(cache_control=MARK)), 300),
        (messages(text(cache_control=HOUR)), 3600),
        (messages(system=text(cache_control=HOUR)), 3600),
        (messages(tools=[{**TOOL, "cache_control": MARK}]), 300),
        (messages(text(cache_control=MARK), system=text(cache_control=HOUR)), 3600),
        (chat("Hello"), 0),
        (chat("Hello", "Yes?", "Go on"), 300),
        (chat("Hello", tools=[FUNCTION]), 300),
        (chat(text(cache_control=HOUR)), 3600),
        (chat("Hello", tools=[FUNCTION], prompt_cache_retention="24h"), 300),
    ],
)
def test_a_provider_of_marks_keeps_what_is_marked(request_: ChatRequest, seconds: int) -> None:
    assert RULES.lifetimes(request_, LONG).get("marked", 0) == seconds


@pytest.mark.parametrize(
    ("request_", "seconds"),
    [
        (messages(cache_control=HOUR), 0),
        (chat("Hello", "Yes?", "Go on"), 0),
        (chat("Hello", tools=[FUNCTION]), 0),
        (chat(text(cache_control=HOUR)), 3600),
        (chat(text(cache_control=MARK)), 300),
    ],
)
def test_others_that_sell_it_get_the_marks_of_chat_completions(
    request_: ChatRequest, seconds: int
) -> None:
    rules = CacheRules([card("marked")], FACTS, others=("p",))
    assert rules.lifetimes(request_, LONG).get("marked", 0) == seconds


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 1800),
        ({"prompt_cache_retention": "in_memory"}, 1800),
        ({"prompt_cache_retention": "24h"}, 43200),
        ({"prompt_cache_options": {"ttl": "30m"}}, 1800),
        ({"prompt_cache_options": {"ttl": "12h"}}, 43200),
        ({"prompt_cache_options": {"mode": "explicit"}}, 1800),
        ({"prompt_cache_retention": "9999999999999h"}, 1800),
    ],
)
def test_a_provider_of_lifetimes_keeps_as_long_as_asked(
    fields: dict[str, Any], seconds: int
) -> None:
    assert RULES.lifetimes(chat("Hello", **fields), LONG)["both"] == seconds


def test_models_of_today_by_what_is_known_of_them() -> None:
    names = {"claude-sonnet-5-5": "anthropic", "gpt-6.1-sol": "openai", "gpt-5.1": "openai"}
    book = bundled_book()
    facts = {name: book.facts_of(name, seller) for name, seller in names.items()}
    rules = CacheRules(map(card, names), facts)
    hour = messages(text(cache_control=HOUR))
    assert rules.lifetimes(hour, LONG) == {
        "claude-sonnet-5-5": 3600, "gpt-6.1-sol": 1800, "gpt-5.1": 300,
    }  # fmt: skip
    assert rules.effort_keeps == set()
    assert rules.marks_only == {"claude-sonnet-5-5"}


def test_others_keep_what_is_long_enough_for_five_minutes() -> None:
    found = RULES.lifetimes(chat("Hello", "Yes?", "Go on"), LONG)
    assert found.keys() == {"automatic", "both", "marked", "yes", "marker", "stranger"}
    assert found["automatic"] == found["stranger"] == 300
    assert "marked" not in RULES.lifetimes(chat("Hello", "Yes?", "Go on"), 4_000)
    assert RULES.lifetimes(chat("Hello"), 1_023) == {}


def test_which_caches_a_change_of_effort_keeps() -> None:
    assert RULES.effort_keeps == {"yes"}
    assert RULES.marks_only == {"marked"}
    assert RULES.usual_s("both") == 1800
    assert RULES.usual_s("stranger") == RULES.usual_s("not there") == 300


def test_what_callers_ask_for_takes_no_memory() -> None:
    rules = CacheRules([card("marked")], FACTS)
    for k in range(2_000):
        rules.lifetimes(messages(cache_control={"type": "ephemeral", "ttl": f"{k}s"}), LONG)
    assert len(rules._found) <= 256
