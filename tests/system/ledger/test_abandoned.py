"""Attempts that nobody waited for to the end are billed once, and never at less than was begun."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from broken_stream import read_stream
from fake_anthropic import FakeAnthropic
from fake_provider import Behaviour, FakeProvider, Fault
from hanging_up import hang_up
from live_gateway import LiveGateway

CONFIG = """
providers:
  slow: {{kind: openai, base_url: "{plain}", first_byte_timeout_s: 0.4, idle_timeout_s: 0.4}}
  plain: {{kind: openai, base_url: "{plain}"}}
  claude: {{kind: anthropic, base_url: "{claude}", first_byte_timeout_s: 5, idle_timeout_s: 0.4}}
models:
  first: {{provider: slow, upstream_model: first, input_usd_per_mtok: 5, output_usd_per_mtok: 15,
          expected_output_tokens: 1000}}
  second: {{provider: plain, upstream_model: second, input_usd_per_mtok: 1, output_usd_per_mtok: 2,
           expected_output_tokens: 100}}
  claude-x: {{provider: claude, input_usd_per_mtok: 5, output_usd_per_mtok: 15,
             expected_output_tokens: 1000}}
scorer: {{fixed: {{first: 2, second: 1, claude-x: 0}}}}
storage: {{url: "sqlite:///{database}"}}
routing:
  retries: 0
  breaker: {{consecutive_failures: 100000, min_requests: 100000}}
  window_budgets: [{{window_s: 3600, amount_usd: 10}}]
"""
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2000}
Rows = Callable[[str, int], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("abandoned") / "ledger.db"


@pytest.fixture(scope="module")
def plain() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def claude() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as provider:
        yield provider


@pytest.fixture(scope="module")
def live(plain: FakeProvider, claude: FakeAnthropic, database: Path) -> Iterator[LiveGateway]:
    text = CONFIG.format(plain=plain.base_url, claude=claude.base_url, database=database)
    with LiveGateway(text, keepalive_s=0.1) as gateway:
        yield gateway


@pytest.fixture
def client(live: LiveGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def rows(database: Path) -> Rows:
    """The settled attempts of a request, once there are so many."""

    def found(request_id: str, n: int) -> list[dict[str, Any]]:
        query = "select * from attempts where request_id = ? and settled_at is not null"
        deadline = time.monotonic() + 30
        while True:
            with closing(sqlite3.connect(database)) as connection:
                connection.row_factory = sqlite3.Row
                known = [dict(row) for row in connection.execute(query, (request_id,))]
            if len(known) >= n or time.monotonic() > deadline:
                return sorted(known, key=lambda row: row["attempt"])
            time.sleep(0.01)

    return found


def spent(live: LiveGateway) -> float:
    return sum(used for _, _, used in live.state.gateway.accounts.global_windows())


@pytest.mark.parametrize("stream", [False, True])
def test_a_timed_out_attempt_is_billed_once_and_so_is_the_next(
    live: LiveGateway, client: httpx.Client, plain: FakeProvider, rows: Rows, stream: bool
) -> None:
    # it does answer, when nobody listens any more
    plain.script("first", Behaviour(first_delay_s=0.8))
    plain.script("second", Behaviour())
    n_before, spent_before = len(plain.chats), spent(live)
    answer = client.post("/v1/chat/completions", json=ASK | {"model": "p2l", "stream": stream})
    assert answer.status_code == 200
    first, second = rows(answer.headers["x-request-id"], 2)
    assert (first["model"], first["outcome"]) == ("first", "timed_out")
    assert first["cost_pico"] == first["expected_pico"] > 0
    assert (second["model"], second["outcome"]) == ("second", "answered")
    time.sleep(0.6)
    assert rows(answer.headers["x-request-id"], 2) == [first, second]
    assert len(plain.chats) == n_before + 2, "the one that timed out is not asked again"
    booked = (first["cost_pico"] + second["cost_pico"]) / 1e12
    assert spent(live) - spent_before == pytest.approx(booked, rel=1e-3)


def test_a_lone_model_that_timed_out_is_not_asked_again(
    client: httpx.Client, plain: FakeProvider, rows: Rows
) -> None:
    plain.script("first", Behaviour(first_delay_s=30))
    n_before = len(plain.chats)
    answer = client.post("/v1/chat/completions", json=ASK | {"model": "first"})
    assert answer.status_code == 504
    assert len(plain.chats) == n_before + 1
    (row,) = rows(answer.headers["x-request-id"], 1)
    assert row["cost_pico"] == row["expected_pico"]


def all_settled(database: Path) -> list[tuple[str, int, int]]:
    query = (
        "select outcome, cost_pico, expected_pico from attempts where settled_at is not null "
        "order by started_at"
    )
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("stream", [False, True])
def test_who_hangs_up_while_it_thinks_pays_what_was_expected(
    live: LiveGateway, client: httpx.Client, plain: FakeProvider, database: Path, stream: bool
) -> None:
    plain.script("second", Behaviour(first_delay_s=30))
    spent_before = spent(live)
    body = ASK | {"model": "second", "stream": stream}
    n_chats, n_settled = len(plain.chats), len(all_settled(database))
    hang_up(live.url, "/v1/chat/completions", body, lambda: len(plain.chats) > n_chats)
    deadline = time.monotonic() + 20
    while len(all_settled(database)) == n_settled:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    outcome, cost_pico, expected_pico = all_settled(database)[-1]
    assert outcome == "cancelled"
    assert cost_pico == expected_pico > 0
    assert spent(live) - spent_before == pytest.approx(cost_pico / 1e12, rel=1e-3)


def test_what_a_stream_says_at_its_start_is_not_its_bill(
    client: httpx.Client, claude: FakeAnthropic, rows: Rows
) -> None:
    """Anthropic's first event tells the input and one token of output."""
    claude.script("claude-x", Behaviour(texts=("word " * 80,), fault=Fault.SILENCE, fault_after=5))
    answer = read_stream(client, "/v1/messages", ASK | {"model": "claude-x", "stream": True})
    assert "error" in answer.text
    (row,) = rows(answer.headers["x-request-id"], 1)
    assert row["outcome"] == "broken"
    assert row["cost_source"] == "estimate"
    assert row["completion_tokens"] >= 40


def test_thoughts_that_nobody_sees_are_paid_too(
    client: httpx.Client, plain: FakeProvider, rows: Rows
) -> None:
    events = ({"reasoning_content": "hm"}, {"content": "a"}, {"content": "b"})
    for deltas, at_least_expected in ((events, False), (events[1:], True)):
        plain.script("first", Behaviour(deltas=deltas * 9, fault=Fault.SILENCE, fault_after=5))
        body = ASK | {"model": "first", "stream": True, "reasoning_effort": "high"}
        answer = read_stream(client, "/v1/chat/completions", body)
        assert json.loads(answer.text.split("data: ")[-1])["error"]["code"] == "upstream_timeout"
        (row,) = rows(answer.headers["x-request-id"], 1)
        assert row["outcome"] == "broken"
        assert (row["cost_pico"] >= row["expected_pico"]) is at_least_expected
        assert row["cost_pico"] > Decimal(0)
