"""Who has the last event of a stream has the answer, whenever it hangs up after that."""

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
from fake_anthropic import FakeAnthropic
from fake_openai import FakeOpenAI
from fake_provider import Behaviour, FakeProvider, Fault
from live_gateway import LiveGateway

from server.ledger.meter import _is_last

CONFIG = """
providers:
  plain: {{kind: openai, base_url: "{plain}"}}
  openai: {{kind: openai, base_url: "{openai}", profile: openai}}
  claude: {{kind: anthropic, base_url: "{claude}"}}
models:
  plain: {{provider: plain, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  gpt-5.2: {{provider: openai, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  claude-sonnet-4-5: {{provider: claude, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{plain: 1}}}}
storage: {{url: "sqlite:///{database}"}}
"""
BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {
        "messages": [{"role": "user", "content": "Hi"}],
        "stream_options": {"include_usage": True},
    },
    "responses": {"input": "Hi"},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 500},
}
# what the last event that a client waits for holds
LAST = {
    "chat/completions": '"usage":{',
    "responses": '"type":"response.completed"',
    "messages": '"type":"message_stop"',
}

NATIVE = {"plain": "chat/completions", "gpt-5.2": "responses", "claude-sonnet-4-5": "messages"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole") / "ledger.db"


@pytest.fixture(scope="module")
def rig(database: Path) -> Iterator[tuple[dict[str, FakeProvider], str]]:
    with FakeProvider() as plain, FakeOpenAI() as openai, FakeAnthropic() as claude:
        text = CONFIG.format(
            plain=plain.base_url,
            openai=openai.base_url,
            claude=claude.base_url,
            database=database,
        )
        with LiveGateway(text) as gateway:
            found = {"plain": plain, "gpt-5.2": openai, "claude-sonnet-4-5": claude}
            yield found, gateway.url


def settled(database: Path, request_id: str) -> dict[str, Any]:
    query = "select * from attempts where request_id = ? and settled_at is not null"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with closing(sqlite3.connect(database)) as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute(query, (request_id,))]
        if rows:
            return rows[0]
        time.sleep(0.01)
    raise AssertionError("it is not settled")


@pytest.mark.parametrize("surface", sorted(BODIES))
@pytest.mark.parametrize("model", ["plain", "gpt-5.2", "claude-sonnet-4-5"])
def test_who_hangs_up_after_the_last_event_is_answered(
    rig: tuple[dict[str, FakeProvider], str], database: Path, model: str, surface: str
) -> None:
    providers, url = rig
    # where nothing is translated, the provider says no more and keeps its end of the connection
    silent = Fault.SILENCE if NATIVE[model] == surface else None
    providers[model].script(model, Behaviour(texts=("Hello",), fault=silent, fault_after=999))
    body = BODIES[surface] | {"model": model, "stream": True}
    with httpx.stream("POST", f"{url}/v1/{surface}", json=body, trust_env=False) as answer:
        assert answer.status_code == 200
        request_id = answer.headers["x-request-id"]
        for line in answer.iter_lines():
            if LAST[surface] in line:
                break
    row = settled(database, request_id)
    assert (row["outcome"], row["cost_source"]) == ("answered", "usage")


def test_who_hangs_up_before_it_is_not(
    rig: tuple[dict[str, FakeProvider], str], database: Path
) -> None:
    providers, url = rig
    providers["plain"].script("plain", Behaviour(texts=("a",) * 50, chunk_delay_s=0.05))
    body = BODIES["responses"] | {"model": "plain", "stream": True}
    with httpx.stream("POST", f"{url}/v1/responses", json=body, trust_env=False) as answer:
        for line in answer.iter_lines():
            if "output_text.delta" in line:
                break
    assert settled(database, answer.headers["x-request-id"])["outcome"] == "cancelled"


USAGE = {"prompt_tokens": 5, "completion_tokens": 2}
ENDED = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
GOING_ON = [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]


@pytest.mark.parametrize(
    ("event", "last"),
    [
        ({"type": "response.completed"}, True),
        ({"type": "response.incomplete"}, True),
        ({"type": "response.output_item.done"}, False),
        ({"type": "message_stop"}, True),
        ({"type": "message_delta", "usage": USAGE}, False),
        ({"choices": [], "usage": USAGE}, True),
        ({"choices": [], "usage": USAGE | {"completion_tokens": 0}}, False),
        ({"choices": ENDED, "usage": USAGE}, True),
        ({"choices": ENDED, "usage": None}, False),
        ({"choices": GOING_ON, "usage": USAGE}, False),
        ({"choices": 5}, False),
        ({}, False),
    ],
)
def test_which_event_is_the_last(event: dict[str, Any], last: bool) -> None:
    assert _is_last(json.loads(json.dumps(event))) is last
