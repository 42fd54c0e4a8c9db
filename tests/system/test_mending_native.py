"""Answers that pass in the API they were asked for in: half a call is no answer there either."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from broken_stream import Streamed, read_stream
from fake_anthropic import FakeAnthropic
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway

CONFIG = """
providers:
  claude: {{kind: anthropic, base_url: "{claude}"}}
  open: {{base_url: "{open}", responses: true}}
models:
  claude-x: {{provider: claude, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  up: {{provider: open, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{claude-x: 1, up: 0}}}}
routing: {{retries: 0}}
"""
Event = dict[str, Any]


@pytest.fixture(scope="module")
def fakes() -> Iterator[dict[str, Any]]:
    with FakeAnthropic() as claude, FakeProvider() as plain:
        yield {"claude": claude, "open": plain}


@pytest.fixture(scope="module")
def client(fakes: dict[str, Any]) -> Iterator[httpx.Client]:
    urls = {name: fake.base_url for name, fake in fakes.items()}
    with (
        LiveGateway(CONFIG.format(**urls)) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as http,
    ):
        yield http


def message(pieces: tuple[str, ...], stop: str | None) -> tuple[Event, ...]:
    head = {"id": "m", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
            "stop_reason": None, "usage": {"input_tokens": 10, "output_tokens": 1}}  # fmt: skip
    block = {"type": "tool_use", "id": "t", "name": "ls", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return (
        {"type": "message_start", "message": head},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    )


def ask(client: httpx.Client, surface: str) -> Streamed:
    said = {"input": "x"} if surface == "responses" else {
        "messages": [{"role": "user", "content": "x"}], "max_tokens": 99
    }  # fmt: skip
    model = "up" if surface == "responses" else "claude-x"
    return read_stream(client, f"/v1/{surface}", {"model": model, "stream": True, **said})


@pytest.mark.parametrize("surface", ["messages", "chat/completions"])
def test_half_a_call_of_a_message_is_a_failure(
    client: httpx.Client, fakes: dict[str, Any], surface: str
) -> None:
    for pieces, stop in ((('{"a": ',), "tool_use"), (('{"a": 1}',), None)):
        fakes["claude"].script("claude-x", Behaviour(events=message(pieces, stop)))
        answer = ask(client, surface)
        assert answer.is_broken
        assert "error" in answer.text
        assert "message_stop" not in answer.text
        assert "[DONE]" not in answer.text
        row = client.get("/admin/requests").json()["data"][0]
        assert float(row["cost_usd"]) == pytest.approx((10 + 7 * 2) / 1e6)


@pytest.mark.parametrize("surface", ["messages", "chat/completions"])
def test_an_answer_that_says_why_it_ended_has_ended(
    client: httpx.Client, fakes: dict[str, Any], surface: str
) -> None:
    """Other vendors' servers of this API leave its last event out."""
    events = message(('{"a": 1}',), "tool_use")[:-1]
    fakes["claude"].script("claude-x", Behaviour(events=events))
    answer = ask(client, surface)
    assert not answer.is_broken
    assert ("event: message_stop" if surface == "messages" else "[DONE]") in answer.text
    fakes["claude"].script("claude-x", Behaviour(events=events[:-1]))
    assert ask(client, surface).is_broken


def test_what_its_cap_cut_off_passes(client: httpx.Client, fakes: dict[str, Any]) -> None:
    fakes["claude"].script("claude-x", Behaviour(events=message(('{"a": ',), "max_tokens")))
    answer = ask(client, "messages")
    assert not answer.is_broken
    assert '"stop_reason":"max_tokens"' in answer.text.replace(" ", "")


def test_the_stop_reason_follows_the_content(client: httpx.Client, fakes: dict[str, Any]) -> None:
    fakes["claude"].script("claude-x", Behaviour(events=message(('{"a"', ":1}"), "end_turn")))
    assert '"stop_reason":"tool_use"' in ask(client, "messages").text


@pytest.mark.parametrize(("status", "fails"), [("completed", True), ("incomplete", False)])
def test_half_a_call_of_a_response_is_a_failure(
    client: httpx.Client, fakes: dict[str, Any], status: str, fails: bool
) -> None:
    item = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "ls",
            "arguments": '{"a', "status": status}  # fmt: skip
    response = {"id": "resp_1", "object": "response", "status": status, "model": "up",
                "output": [item], "usage": {"input_tokens": 10, "output_tokens": 7}}  # fmt: skip
    events: tuple[Event, ...] = (
        {"type": "response.created", "response": {**response, "output": []}},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "arguments": ""},
        },
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": f"response.{status}", "response": response},
    )
    fakes["open"].script("up", Behaviour(events=events))
    answer = ask(client, "responses")
    assert answer.is_broken == fails
    last = [json.loads(x[6:]) for x in answer.text.split("\n") if x.startswith("data: {")][-1]
    assert last["type"] == ("error" if fails else "response.incomplete")
    assert ("output_item.done" in answer.text) != fails
    row = client.get("/admin/requests").json()["data"][0]
    assert float(row["cost_usd"]) == pytest.approx((10 + 7 * 2) / 1e6)
