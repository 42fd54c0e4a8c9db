"""Hedged requests over real sockets: the faster of two answers, and both are in the ledger."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from hanging_up import hang_up
from live_gateway import LiveGateway, config_for

from router.receipt import replay

KEY = "sk-provider-canary"
HELLO: dict[str, Any] = {
    "model": "p2l",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_completion_tokens": 50,
}
SLOW, QUICK = Behaviour(first_delay_s=0.6), Behaviour()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "hedge.db"


@pytest.fixture
def hedging(provider: FakeProvider, database: Path) -> Iterator[httpx.Client]:
    extra = f"routing: {{hedge_after_s: 0.1}}\nstorage: {{url: 'sqlite:///{database}'}}"
    with (
        LiveGateway(config_for(provider.base_url, extra), {"MAIN_KEY": KEY}) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        yield http


def post(client: httpx.Client, stream: bool = False, **headers: str) -> httpx.Response:
    body = HELLO | {"stream": stream}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def rows(database: Path, request_id: str, n_rows: int) -> list[tuple[str, str, str]]:
    query = (
        "select model, outcome, cost_source from attempts "
        "where request_id = ? and settled_at is not null order by attempt"
    )
    deadline = time.monotonic() + 30
    while True:
        with closing(sqlite3.connect(database)) as ledger:
            found = ledger.execute(query, (request_id,)).fetchall()
        if len(found) >= n_rows or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_start_is_overtaken_and_both_are_counted(
    hedging: httpx.Client, provider: FakeProvider, database: Path, stream: bool
) -> None:
    provider.script("up-dear", SLOW)
    response = post(hedging, stream)
    assert response.status_code == 200
    assert response.headers["x-p2l-model"] == "middle"
    assert response.headers["x-p2l-attempts"] == "2"
    slow = next(chat for chat in provider.chats if chat.body["model"] == "up-dear")
    assert slow.over.wait(5)
    assert slow.aborted, "the slower one is hung up on"
    assert rows(database, response.headers["x-request-id"], 2) == [
        ("dear", "cancelled", "estimate"),
        ("middle", "answered", "usage"),
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_may_still_win(
    hedging: httpx.Client, provider: FakeProvider, database: Path, stream: bool
) -> None:
    provider.script("up-dear", Behaviour(first_delay_s=0.25))
    provider.script("up-middle", Behaviour(first_delay_s=5))
    response = post(hedging, stream)
    assert response.headers["x-p2l-model"] == "dear"
    assert response.headers["x-p2l-attempts"] == "2"
    assert [row[:2] for row in rows(database, response.headers["x-request-id"], 2)] == [
        ("dear", "answered"),
        ("middle", "cancelled"),
    ]


def test_who_answers_in_time_is_not_hedged(hedging: httpx.Client, provider: FakeProvider) -> None:
    assert post(hedging).headers["x-p2l-attempts"] == "1"
    assert len(provider.chats) == 1


@pytest.mark.slow
def test_a_failing_hedge_leaves_the_first_to_answer_and_two_failures_a_third(
    hedging: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-dear", Behaviour(first_delay_s=0.25))
    provider.script("up-middle", Behaviour(status=500))
    assert post(hedging).headers["x-p2l-model"] == "dear"
    provider.script("up-dear", Behaviour(first_delay_s=0.25, status=500))
    third = post(hedging)
    assert third.headers["x-p2l-model"] == "cheap"
    assert third.headers["x-p2l-attempts"] == "3"


def test_the_callers_own_mistake_is_told_at_once(
    hedging: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-dear", SLOW)
    provider.script("up-middle", Behaviour(status=400))
    assert post(hedging).status_code == 400
    slow = next(chat for chat in provider.chats if chat.body["model"] == "up-dear")
    assert slow.over.wait(5)
    assert slow.aborted, "it is not waited for"


def test_a_hedge_keeps_to_what_the_first_may_leave_of_a_hard_budget(
    hedging: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-dear", SLOW)
    hard = {"x-cost-budget-mode": "hard"}
    # dear at its worst: 50 tokens of 15 USD per million, and the input; then 0.0002 USD are left
    within = post(hedging, **hard, **{"x-cost-budget": "0.01"})
    assert within.headers["x-p2l-attempts"] == "2"
    alone = post(hedging, **hard, **{"x-cost-budget": "0.00095"})
    assert (alone.headers["x-p2l-model"], alone.headers["x-p2l-attempts"]) in {
        ("dear", "1"),
        ("cheap", "2"),
    }


def test_a_caller_who_hangs_up_hangs_up_on_both(
    hedging: httpx.Client, provider: FakeProvider
) -> None:
    for name in ("up-dear", "up-middle"):
        provider.script(name, Behaviour(first_delay_s=30))
    url = str(hedging.base_url)
    hang_up(url, "/v1/chat/completions", HELLO, lambda: len(provider.chats) == 2)
    assert all(chat.over.wait(5) and chat.aborted for chat in provider.chats)


def test_a_hedged_decision_replays(hedging: httpx.Client, provider: FakeProvider) -> None:
    provider.script("up-dear", SLOW)
    request_id = post(hedging).headers["x-request-id"]
    deadline = time.monotonic() + 30
    while (receipt := hedging.get(f"/v1/decisions/{request_id}")).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    document = json.loads(receipt.content)
    again = replay(document)
    assert again.models == ["dear", "middle"]
    assert again.differences == []
