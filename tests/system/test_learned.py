"""Costs learn from answers: the provider's own token counts, and who holds the prompt's cache."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider

from router.catalog import ModelCard, Prices
from router.cost import Usage
from router.token_ratio import TokenRatios
from server.gateway.learned_costs import Learned
from server.gateway.prompt_cache import PromptCaches


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


def longer(body: dict[str, Any], *texts: str) -> dict[str, Any]:
    roles = ["assistant", "user"] * len(texts)
    turns = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]
    return {"messages": [*body["messages"], *turns]}


def test_each_model_that_answered_holds_what_it_read() -> None:
    """The conversation goes from one model to another, and on for longer than is looked back."""
    clock = Clock()
    caches = PromptCaches(clock)
    caches.answered("me", FIRST, "a", 2_000, kept_s=1_800)
    body = NEXT
    for turn in range(10):
        clock.now += 60
        caches.answered("me", body, "b", 3_000 + turn, kept_s=300)
        body = longer(body, "indeed", f"and after {turn}?")
    assert caches.cached_tokens("me", body) == {"a": 2_000, "b": 3_009}
    clock.now += 301
    assert caches.cached_tokens("me", body) == {"a": 2_000}, "each for its own time"
    clock.now += 1_800
    assert caches.cached_tokens("me", body) == {}


def test_at_another_effort_the_cache_is_lost_unless_the_model_keeps_it() -> None:
    caches = PromptCaches()
    caches.answered("me", FIRST, "a", 2_000, effort="low")
    assert caches.cached_tokens("me", NEXT, effort="low") == {"a": 2_000}
    assert caches.cached_tokens("me", NEXT, effort="high") == {}
    assert caches.cached_tokens("me", NEXT, effort="high", effort_keeps={"a"}) == {"a": 2_000}


def test_a_conversation_is_remembered_for_a_few_models() -> None:
    caches = PromptCaches()
    for k in range(30):
        caches.answered("me", FIRST, f"model {k}", 2_000)
    found = caches.cached_tokens("me", NEXT)
    assert set(found) == {f"model {k}" for k in range(22, 30)}


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
    monkeypatch.setattr("server.gateway.prompt_cache._MOST", 10)
    caches = PromptCaches()
    for k in range(100):
        caches.answered("me", {"messages": [{"role": "user", "content": str(k)}]}, "m", 2000)
    assert len(caches._held) == 10


def test_counts_are_the_providers() -> None:
    learned, cards = Learned(), [card("a", "one"), card("b", "one"), card("c", "two")]
    assert learned.input_tokens(cards, 1000, "me") == {}
    for _ in range(100):
        usage = Usage(prompt_tokens=1500, completion_tokens=1)
        learned.answered(cards[0], usage, 1000, "me", {})
    counts = learned.input_tokens(cards, 1000, "me")
    assert counts.keys() == {"a", "b"}
    assert counts["a"] == pytest.approx(1500, rel=0.03)


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
TEXT = "the quick brown fox jumps over the lazy dog and goes on its way " * 20


def asks(content: object, **fields: Any) -> dict[str, Any]:
    return {"model": "dear", "messages": [{"role": "user", "content": content}], **fields}


@pytest.mark.parametrize(
    ("path", "body", "reported"),
    [
        ("chat/completions", asks([{"type": "text", "text": TEXT}, IMAGE]), 1000),
        ("chat/completions", asks(TEXT, tools=[TOOL]), 1000),
        ("chat/completions", asks(TEXT, unheard_of={"documents": ["x"]}), 1000),
        ("messages", asks(TEXT, max_tokens=50), 1000),
        ("embeddings", {"model": "dear", "input": TEXT}, 1000),
        # beyond what is tokenised, the count is a guess of ours
        ("chat/completions", asks("word " * 5000), 12_000),
    ],
)
def test_what_is_no_plain_text_moves_nobodys_costs(
    client: httpx.Client,
    provider: FakeProvider,
    path: str,
    body: dict[str, Any],
    reported: int,
) -> None:
    def expected() -> str:
        answer = client.post("/v1/route", json=asks(TEXT))
        return str(answer.json()["expected_cost_usd"])

    before = expected()
    provider.script("up-dear", Behaviour(usage={"prompt_tokens": reported, "completion_tokens": 1}))
    for _ in range(10):
        assert client.post(f"/v1/{path}", json=body).status_code == 200
    assert expected() == before
    for _ in range(10):
        assert client.post("/v1/chat/completions", json=asks(TEXT)).status_code == 200
    assert expected() != before, "plain text is learnt from"


def test_no_caller_moves_the_costs_of_others_by_more_than_its_share() -> None:
    learned, cards = Learned(), [card("a", "one")]
    honest = [f"team{n}" for n in range(9)]

    def answered(caller: str, reported: int, times: int) -> None:
        usage = Usage(prompt_tokens=reported, completion_tokens=1)
        for _ in range(times):
            learned.answered(cards[0], usage, 1000, caller, {})

    for caller in honest:
        answered(caller, 1300, 30)
    answered("hostile", 3900, 10_000)
    assert learned.input_tokens(cards, 1000, "hostile")["a"] > 3800, "its own costs are its own"
    assert learned.input_tokens(cards, 1000, "team0")["a"] == pytest.approx(1300, rel=0.03)
    assert learned.input_tokens(cards, 1000, "somebody new")["a"] < 1300 * 1.15


def test_the_callers_that_are_known_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.token_ratio._MOST_CALLERS", 10)
    ratios = TokenRatios()
    for n in range(100):
        ratios.observed(f"key{n}", 1000, 1500 if n < 90 else 800)
    assert len(ratios._by_caller) == 10
    assert ratios.corrected("somebody new", 1000) < 1000, "who was forgotten counts no more"
