"""Some servers never stream, and some always do, whatever they are asked for. Of every kind of
provider and on every surface of a caller, either is understood, and costs what it says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_process import InProcess, Told, in_process
from merge import sse_events
from odd_answers import (
    CHAT_EVENTS,
    COMPLETION_EVENTS,
    ERROR,
    GEMINI_EVENTS,
    MESSAGE_EVENTS,
    PATHS,
    RESPONSE,
    RESPONSE_EVENTS,
    Base,
    bases,
    config,
    request,
)

from server.ledger.attempt import CostSource, Outcome

pytestmark = pytest.mark.anyio
SURFACES = ("chat", "responses", "messages", "completions")
WHOLE = [
    base for base in bases() if base.is_paid and not base.streamed and base.surface in SURFACES
]
# The last event of the stream of a response has an item that no other event brings.
TOLD = {**RESPONSE_EVENTS[-1], "response": {**RESPONSE, "output": RESPONSE["output"][:3]}}
STREAMED = [
    replace(base, answer=[*RESPONSE_EVENTS[:-1], TOLD]) if base.answer is RESPONSE_EVENTS else base
    for base in bases()
    if base.is_paid and base.streamed
]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(config(tmp_path), {}) as made:
        yield made


def framed(events: Any, *, done: bool = True) -> bytes:
    lines = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    return lines + (b"data: [DONE]\n\n" if done else b"")


def content_of(base: Base) -> tuple[bytes, str]:
    if not base.streamed:
        return json.dumps(base.answer).encode(), "application/json"
    return framed(base.answer, done=base.provider == "chat"), "text/event-stream"


async def ask(gateway: InProcess, base: Base, *, stream: bool) -> Told:
    gateway.script.say(*content_of(base))
    told = await gateway.ask(
        PATHS[base.surface], request(base.surface, base.provider, stream=stream)
    )
    gateway.state.gateway.health.configured_anew()
    return told


def booked(gateway: InProcess) -> tuple[Any, ...]:
    (row,) = gateway.settled
    return row.outcome, row.cost_source, row.cost_pico, row.usage


def said_in(value: Any) -> str:
    """All that an answer or a stream says: its texts, its thoughts, and its calls."""
    if isinstance(value, list):
        return "".join(map(said_in, value))
    if not isinstance(value, dict):
        return ""
    kind = value.get("type")
    if str(kind).endswith(".delta"):
        return str(value["delta"])
    if kind == "message_start" or str(kind).startswith("response."):
        return ""
    if "choices" in value:
        return "".join(_of_choice(choice) for choice in value["choices"])
    if kind == "content_block_start":
        return str(value["content_block"].get("name") or "")
    if kind == "content_block_delta":
        delta = value["delta"]
        return str(delta.get("text") or delta.get("thinking") or delta.get("partial_json") or "")
    return _of_whole(value)


def _of_choice(choice: Any) -> str:
    said = choice.get("message") or choice.get("delta") or choice
    texts = [said.get(n) or "" for n in ("reasoning_content", "content", "refusal", "text")]
    for call in said.get("tool_calls") or ():
        inside = call.get("function") or call["custom"]
        texts += [inside.get(n) or "" for n in ("name", "arguments", "input")]
    return "".join(texts)


def _of_whole(body: Any) -> str:
    found = []
    for part in body.get("content") or body.get("output") or body.get("summary") or ():
        found.append(str(part.get("name") or "") if "input" in part else "")
        found += [str(part.get(n) or "") for n in ("thinking", "text", "refusal", "arguments")]
        given = part.get("input")
        found.append(json.dumps(given) if isinstance(given, dict) else given or "")
        found.append(_of_whole(part))
    return "".join(found)


def letters(text: str) -> list[str]:
    """What is said, whatever its order and its white space. A refusal beside a text is left out:
    whole messages of the Messages API have only one of the two."""
    return sorted("".join(text.replace("No.", "").split()))


@pytest.mark.parametrize("base", WHOLE, ids=lambda base: base.name)
async def test_a_whole_answer_in_place_of_a_stream(gateway: InProcess, base: Base) -> None:
    whole = await ask(gateway, base, stream=False)
    bill = booked(gateway)
    told = await ask(gateway, base, stream=True)
    assert told.status == whole.status
    # What an answer costs that has failed is known by its usage in both cases.
    assert booked(gateway) == bill
    if told.status != 200:
        return
    assert bill[0] is Outcome.ANSWERED
    assert bill[1] in (CostSource.USAGE, CostSource.REPORTED)
    events = sse_events(told.content.decode())
    assert not any(isinstance(event, dict) and event.get("error") for event in events)
    assert not told.cut
    expected = said_in(json.loads(whole.content))
    assert expected
    last = events[-2 if events[-1] == "[DONE]" else -1]
    if base.surface == "responses":
        assert letters(said_in(last["response"])) == letters(expected)
        assert last["type"] == f"response.{last['response']['status']}"
    else:
        assert letters(said_in(events)) == letters(expected)


@pytest.mark.parametrize("base", STREAMED, ids=lambda base: base.name)
async def test_a_stream_in_place_of_a_whole_answer(gateway: InProcess, base: Base) -> None:
    stream = await ask(gateway, base, stream=True)
    bill = booked(gateway)
    told = await ask(gateway, base, stream=False)
    assert told.status == stream.status, told.content
    assert booked(gateway) == bill
    if told.status != 200:
        return
    body = json.loads(told.content)
    assert not body.get("error")
    events = sse_events(stream.content.decode())
    if base.surface == "responses":
        events = [event for event in events if event["type"] == "response.completed"]
        assert letters(said_in(body)) == letters(said_in(events[0]["response"]))
    else:
        assert letters(said_in(body)) == letters(said_in(events))


SHORT = {
    "chat": CHAT_EVENTS, "bridged": RESPONSE_EVENTS, "anthropic": MESSAGE_EVENTS,
    "gemini": GEMINI_EVENTS,
}  # fmt: skip


@pytest.mark.parametrize("surface", ["chat", "responses", "messages"])
@pytest.mark.parametrize("provider", SHORT)
async def test_a_stream_that_breaks_off_is_no_whole_answer(
    gateway: InProcess, provider: str, surface: str
) -> None:
    for events in (SHORT[provider][:2], [{"type": "error", "error": ERROR}]):
        base = Base("cut", provider, surface, events, streamed=True)
        told = await ask(gateway, base, stream=False)
        assert told.status in (429, 502, 503), told.content
        assert "error" in json.loads(told.content)


async def test_a_completion_that_breaks_off_is_none(gateway: InProcess) -> None:
    base = Base("cut", "chat", "completions", COMPLETION_EVENTS[:1], streamed=True)
    assert (await ask(gateway, base, stream=False)).status == 502


NONSENSE = [{"some": "thing"}, {}, {"detail": "no"}, {"choices": None}, {"content": "x"}, []]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("provider", SHORT)
async def test_json_that_is_no_answer_is_no_stream(
    gateway: InProcess, provider: str, surface: str
) -> None:
    if surface == "completions" and provider != "chat":
        pytest.skip("only servers with OpenAI's API have completions")
    for answer in (*NONSENSE, {"error": ERROR}):
        base = Base("nonsense", provider, surface, answer)
        told = await ask(gateway, base, stream=True)
        assert told.status in (429, 502, 503), (answer, told.content)


async def test_a_list_of_geminis_answers_is_a_stream(gateway: InProcess) -> None:
    """The API sends one where `alt=sse` is lost on the way to it."""
    streamed = Base("events", "gemini", "chat", GEMINI_EVENTS, streamed=True)
    expected = await ask(gateway, streamed, stream=True)
    bill = booked(gateway)
    listed = Base("list", "gemini", "chat", GEMINI_EVENTS)
    told = await ask(gateway, listed, stream=True)
    assert booked(gateway) == bill
    found, wanted = (sse_events(one.content.decode()) for one in (told, expected))
    assert said_in(found) == said_in(wanted) != ""
