"""Costs learn from answers: the provider's own token counts, and who holds the prompt's cache."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from router.catalog import ModelCard, Prices
from router.cost import Usage
from server.learned import Learned
from server.prompt_cache import PromptCaches


def card(name: str, provider: str) -> ModelCard:
    price = Prices(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(1))
    return ModelCard(
        name=name, provider=provider, upstream_model=name, leaderboard_name=name, prices=price
    )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


FIRST: dict[str, Any] = {"messages": [{"role": "user", "content": "a long story"}]}
NEXT: dict[str, Any] = {
    "messages": [
        *FIRST["messages"],
        {"role": "assistant", "content": "indeed"},
        {"role": "user", "content": "and then?"},
    ]
}


def test_the_next_turn_finds_the_model_that_answered() -> None:
    clock = Clock()
    caches = PromptCaches(clock)
    assert caches.cached_tokens("me", NEXT) == {}
    caches.answered("me", FIRST, "dear", 5000)
    assert caches.cached_tokens("me", NEXT) == {"dear": 5000}
    assert caches.cached_tokens("me", FIRST) == {"dear": 5000}
    assert caches.cached_tokens("you", NEXT) == {}, "what others asked is not told"
    assert caches.cached_tokens("me", NEXT | {"tools": [{"type": "function"}]}) == {}
    changed = {"messages": [{"role": "user", "content": "another story"}, *NEXT["messages"][1:]]}
    assert caches.cached_tokens("me", changed) == {}
    clock.now = 301.0
    assert caches.cached_tokens("me", NEXT) == {}, "providers have dropped it by now"


def test_what_no_provider_caches_is_not_held() -> None:
    caches = PromptCaches()
    caches.answered("me", FIRST, "dear", 500)
    caches.answered("me", {"input": "responses"}, "dear", 5000)
    assert caches.cached_tokens("me", NEXT) == {}


def test_no_text_is_kept() -> None:
    caches = PromptCaches()
    caches.answered("me", FIRST, "dear", 5000)
    assert "story" not in repr(vars(caches))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.prompt_cache._MOST", 10)
    caches = PromptCaches()
    for k in range(100):
        caches.answered("me", {"messages": [{"role": "user", "content": str(k)}]}, "m", 2000)
    assert len(caches._held) == 10


def test_counts_are_the_providers() -> None:
    learned, cards = Learned(), [card("a", "one"), card("b", "one"), card("c", "two")]
    assert learned.input_tokens(cards, 1000) == {}
    for _ in range(100):
        usage = Usage(prompt_tokens=1500, completion_tokens=1)
        learned.answered(cards[0], usage, 1000, "me", {})
    counts = learned.input_tokens(cards, 1000)
    assert counts.keys() == {"a", "b"}
    assert counts["a"] == pytest.approx(1500, rel=0.03)
