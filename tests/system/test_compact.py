"""POST /v1/responses/compact: passed on to whoever has it."""

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
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway

CONFIG = """
providers:
  openai: {{kind: openai, base_url: "{plain}", profile: openai, responses: true}}
  other: {{kind: openai, base_url: "{other}", responses: true}}
  chat: {{kind: openai, base_url: "{plain}"}}
  claude: {{kind: anthropic, base_url: "{claude}"}}
models:
  gpt-5.2: {{provider: openai, input_usd_per_mtok: 1, output_usd_per_mtok: 10}}
  other: {{provider: other, input_usd_per_mtok: 1, output_usd_per_mtok: 10}}
  plain: {{provider: chat, input_usd_per_mtok: 1, output_usd_per_mtok: 10}}
  claude-sonnet-4-5: {{provider: claude, input_usd_per_mtok: 1, output_usd_per_mtok: 10}}
scorer: {{fixed: {{gpt-5.2: 1, other: 3, plain: 2, claude-sonnet-4-5: 4}}}}
storage: {{url: "sqlite:///{database}"}}
"""
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
COMPACTED = {
    "id": "resp_1", "object": "response.compaction", "created_at": 1,
    "output": [USER, {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}],
    "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 0},
              "output_tokens": 10, "output_tokens_details": {"reasoning_tokens": 0},
              "total_tokens": 110},
}  # fmt: skip
BODY: dict[str, Any] = {
    "input": [USER], "instructions": "i", "tools": [], "parallel_tool_calls": True,
    "reasoning": {"effort": "low"}, "prompt_cache_key": "k", "stream": False, "store": False,
    "client_metadata": {"a": "b"},
}  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compact") / "ledger.db"


@pytest.fixture(scope="module")
def rig(database: Path) -> Iterator[tuple[FakeProvider, FakeProvider, str]]:
    with FakeProvider() as plain, FakeProvider() as other, FakeAnthropic() as claude:
        text = CONFIG.format(
            plain=plain.base_url,
            other=other.base_url,
            claude=claude.base_url,
            database=database,
        )
        with LiveGateway(text) as gateway:
            yield plain, other, gateway.url


def post(url: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    url = f"{url}/v1/responses/compact"
    return httpx.post(url, json=BODY | body, headers=headers, trust_env=False)


def test_it_goes_to_a_provider_that_has_it_and_is_paid_for(
    rig: tuple[FakeProvider, FakeProvider, str], database: Path
) -> None:
    plain, other, url = rig
    plain.script("gpt-5.2", Behaviour(answer=COMPACTED))
    other.script("other", Behaviour(status=404, error={"message": "Not Found"}))
    answer = post(url, {"model": "p2l"}, **{"x-cost-budget": "0.1"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-p2l-model"] == "gpt-5.2", "the better ones have none"
    said, compaction = answer.json()["output"]
    assert said == USER
    back = {"model": "gpt-5.2", "input": [USER, compaction, USER]}
    plain.script("gpt-5.2", Behaviour(answer=COMPACTED | {"object": "response"}))
    assert httpx.post(f"{url}/v1/responses", json=back, trust_env=False).status_code == 200
    (sent,) = [item for item in plain.requests.pop().body["input"] if item["type"] == "compaction"]
    assert sent == COMPACTED["output"][1], "as its provider made it"
    assert answer.json()["usage"]["cost"] == pytest.approx((100 + 10 * 10) / 1e6)
    request = plain.requests[-1]
    assert request.path == "/v1/responses/compact"
    assert set(request.body) == {
        "model", "input", "instructions", "tools", "parallel_tool_calls", "reasoning",
        "prompt_cache_key",
    }  # fmt: skip
    assert booked(database) == [("answered", "usage")] * 2


def booked(database: Path) -> list[tuple[str, str]]:
    query = "select outcome, cost_source from attempts where model = 'gpt-5.2'"
    deadline = time.monotonic() + 30
    rows: list[tuple[str, str]] = []
    while len(rows) < 2 and time.monotonic() < deadline:
        with closing(sqlite3.connect(database)) as connection:
            rows = connection.execute(f"{query} and settled_at is not null").fetchall()
        time.sleep(0.005)
    return rows


@pytest.mark.parametrize("model", ["plain", "claude-sonnet-4-5", "other"])
def test_who_has_it_not_is_named(rig: tuple[FakeProvider, FakeProvider, str], model: str) -> None:
    answer = post(rig[2], {"model": model})
    assert answer.status_code in (400, 404)
    assert "/v1/responses/compact" in answer.json()["error"]["message"]


def test_what_no_budget_can_bound_is_refused(
    rig: tuple[FakeProvider, FakeProvider, str],
) -> None:
    answer = post(
        rig[2], {"model": "gpt-5.2"}, **{"x-cost-budget": "1", "x-cost-budget-mode": "hard"}
    )
    assert answer.status_code == 400
    assert "compaction" in answer.json()["error"]["message"]


def test_a_wrong_body_is_named(rig: tuple[FakeProvider, FakeProvider, str]) -> None:
    answer = post(rig[2], {"model": "gpt-5.2", "input": 5})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input"


@pytest.mark.parametrize("stream", [False, True])
def test_who_has_no_way_of_its_own_writes_a_summary_that_all_can_read(
    rig: tuple[FakeProvider, FakeProvider, str], stream: bool
) -> None:
    plain, _, url = rig
    plain.script("plain", Behaviour(texts=("The user", " said hi.")))
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    body = {"model": "plain", "tools": [tool], "stream": stream}
    asked = body | {"input": [USER, {"type": "compaction_trigger"}]}
    answer = httpx.post(f"{url}/v1/responses", json=asked, trust_env=False)
    assert answer.status_code == 200, answer.text
    sent = plain.requests[-1].body
    assert sent["messages"][-1]["role"] == "user"
    assert sent["tool_choice"] == "none", "it is to write, not to work"
    if stream:
        events = [
            json.loads(line.removeprefix("data: "))
            for line in answer.text.splitlines()
            if line.startswith("data: ")
        ]
        assert [event["type"].removeprefix("response.") for event in events] == [
            "created", "in_progress", "output_item.added", "output_item.done", "completed",
        ]  # fmt: skip
        response = events[-1]["response"]
    else:
        response = answer.json()
    [item] = response["output"]
    assert item["type"] == "compaction"
    assert response["usage"]["output_tokens"] > 0
    for model, provider in (("plain", plain), ("gpt-5.2", plain)):
        if model == "gpt-5.2":
            plain.script(model, Behaviour(answer=COMPACTED | {"object": "response"}))
        later = {"model": model, "input": [item, USER]}
        assert httpx.post(f"{url}/v1/responses", json=later, trust_env=False).status_code == 200
        assert "The user said hi." in json.dumps(provider.requests[-1].body)
