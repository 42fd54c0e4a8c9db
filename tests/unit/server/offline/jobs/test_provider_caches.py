from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from job_lines import line

from router.catalog import ModelCard, Prices
from server.model_facts import ModelFacts
from server.model_facts.types import EFFORTS, Caching
from server.offline.jobs.provider_caches import Cached, ProviderCaches
from server.offline.jobs.turns import Conversations, Turn


def caches(
    caching: Caching, write_usd: str | None = None, of_messages: frozenset[str] = frozenset("p")
) -> ProviderCaches:
    prices = Prices(
        input_usd_per_mtok=Decimal(4),
        output_usd_per_mtok=Decimal(20),
        cached_input_usd_per_mtok=Decimal("0.4"),
        cache_write_usd_per_mtok=None if write_usd is None else Decimal(write_usd),
    )
    cards = {
        name: ModelCard(
            name=name, provider="p", upstream_model=name, leaderboard_name=name, prices=prices
        )
        for name in ("a", "b")
    }
    cards |= {f"a:{one}": replace(cards["a"], name=f"a:{one}", effort=one) for one in EFFORTS}
    facts = {name: ModelFacts(name=name, caching=caching) for name in cards}
    return ProviderCaches(cards, facts, of_messages)


def turns(*inputs: tuple[float, int], **changes: Any) -> list[Turn]:
    talks = Conversations()
    return [talks.turn(line(at_s=at, input_tokens=tokens, **changes)) for at, tokens in inputs]


def test_an_automatic_cache_is_read_until_its_lifetime_ends() -> None:
    found = caches(Caching(kind="automatic", lifetimes_s=(300,), least_tokens=1_024))
    asked = turns((0, 2_000), (290, 3_000), (580, 4_000), (881, 5_000))
    reads = [found.asked(turn, "a").read for turn in asked]
    assert reads == [0, 2_000, 3_000, 0], "each use begins the lifetime anew"


def test_a_model_holds_what_it_was_sent_and_no_more() -> None:
    found = caches(Caching(kind="automatic", lifetimes_s=(1_800,)))
    first, second, third, fourth = turns((0, 2_000), (1, 3_000), (2, 4_000), (3, 5_000))
    assert found.asked(first, "a").read == 0
    assert found.asked(second, "b").read == 0
    assert found.asked(third, "a").read == 2_000
    assert found.asked(fourth, "b").read == 3_000


def test_a_marked_cache_is_written_at_its_price() -> None:
    found = caches(Caching(kind="marked", lifetimes_s=(300, 3_600)), write_usd="5")
    first, second = turns((0, 2_000), (10, 3_000))
    assert found.asked(first, "a") == Cached(0, 2_000)
    assert found.asked(second, "a") == Cached(2_000, 1_000)


def test_a_single_prompt_is_not_marked() -> None:
    found = caches(Caching(kind="marked", lifetimes_s=(300,)), write_usd="5")
    first, second = turns((0, 2_000), (10, 3_000), needs=())
    assert found.asked(first, "a") == Cached()
    assert found.asked(second, "a") == Cached(0, 3_000)


def test_other_sellers_get_no_marks_of_the_gateway() -> None:
    found = caches(Caching(kind="marked", lifetimes_s=(300,)), "5", frozenset())
    assert [found.asked(turn, "a") for turn in turns((0, 2_000), (1, 3_000))] == [Cached()] * 2


def test_an_hour_is_written_where_the_client_asked_for_it() -> None:
    found = caches(Caching(kind="marked", lifetimes_s=(300, 3_600)), write_usd="5")
    first, second = turns((0, 2_000), (3_000, 3_000), cache_write_1h_tokens=10)
    assert found.asked(first, "a") == Cached(0, 0, 2_000)
    assert found.asked(second, "a") == Cached(2_000, 0, 1_000)


def test_short_prefixes_are_not_cached() -> None:
    found = caches(Caching(kind="automatic", lifetimes_s=(300,), least_tokens=4_096))
    first, second, third = turns((0, 4_000), (1, 5_000), (2, 6_000))
    assert [found.asked(t, "a").read for t in (first, second, third)] == [0, 0, 5_000]


@pytest.mark.parametrize(("kept", "read"), [("yes", 2_000), ("marker", 0), ("no", 0)])
def test_a_change_of_effort_loses_what_the_facts_say(kept: Any, read: int) -> None:
    caching = Caching(kind="automatic", lifetimes_s=(300,), kept_at_other_effort=kept)
    talks, found = Conversations(), caches(caching)
    found.asked(talks.turn(line(effort="low")), "a")
    again = talks.turn(line(effort="high", at_s=1, input_tokens=3_000))
    assert found.asked(again, "a").read == read


@pytest.mark.parametrize(("kept", "read"), [("yes", 2_000), ("no", 0)])
def test_columns_share_a_cache_as_far_as_their_efforts_do(kept: Any, read: int) -> None:
    caching = Caching(kind="automatic", lifetimes_s=(300,), kept_at_other_effort=kept)
    found = caches(caching)
    first, second, third = turns((0, 2_000), (1, 3_000), (2, 4_000))
    found.asked(first, "a:low")
    assert found.asked(second, "a:high").read == read
    assert found.asked(third, "a:high").read == 3_000


@pytest.mark.parametrize("kind", ["none", "unknown"])
def test_without_a_known_cache_nothing_is_read(kind: Any) -> None:
    found = caches(Caching(kind=kind), write_usd="5")
    first, second = turns((0, 2_000), (1, 3_000))
    assert found.asked(first, "a") == found.asked(second, "a") == Cached()


def test_a_shortened_conversation_is_read_anew() -> None:
    found = caches(Caching(kind="automatic", lifetimes_s=(300,)))
    asked = turns((0, 50_000), (1, 10_000), (2, 11_000))
    assert [found.asked(turn, "a").read for turn in asked] == [0, 0, 10_000]
