"""An answer that says nothing: one that has failed is left for another model, and what it cost is
booked; one that a model meant is passed on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from in_process import InProcess, Told, in_process
from odd_answers import CHAT, MESSAGE, PATHS, RESPONSE, UPSTREAM, config, request

from server.ledger.attempt import CostSource, Outcome

pytestmark = pytest.mark.anyio
Json = dict[str, Any]
SURFACES = ("chat", "responses", "messages")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(config(tmp_path), {}) as made:
        yield made


def chat(n_tokens: int | None, finish: str = "stop", **message: Any) -> list[Json]:
    """A whole answer, and the events of the same one streamed."""
    usage = {} if n_tokens is None else {"usage": _counts(n_tokens)}
    said = {"role": "assistant", "content": "", "refusal": None, **message}
    whole = {**CHAT, "choices": [{"index": 0, "message": said, "finish_reason": finish}]}
    whole.pop("usage")
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    first = {"index": 0, "delta": said, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": finish}
    events = [{**head, "choices": [first]}, {**head, "choices": [last]}]
    if usage:
        events.append({**head, "choices": [], **usage})
    return [{**whole, **usage}, *events]


def _counts(n_tokens: int) -> Json:
    return {"prompt_tokens": 100, "completion_tokens": n_tokens, "total_tokens": 100 + n_tokens}


def gemini(parts: list[Json] | None, n_tokens: int = 0, finish: str = "STOP") -> list[Json]:
    content = {"role": "model"} | ({} if parts is None else {"parts": parts})
    usage: Json = {"promptTokenCount": 100, "totalTokenCount": 100 + n_tokens}
    usage |= {"candidatesTokenCount": n_tokens} if n_tokens > 0 else {"thoughtsTokenCount": 0}
    candidate = {"content": content, "finishReason": finish, "index": 0}
    answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}
    return [answer, answer]


def claude(n_tokens: int) -> list[Json]:
    usage = {"input_tokens": 100, "output_tokens": n_tokens}
    whole = {**MESSAGE, "content": [], "stop_reason": "end_turn", "usage": usage}
    return [
        whole,
        {"type": "message_start", "message": {**whole, "stop_reason": None}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]


def response(n_tokens: int) -> list[Json]:
    usage = {"input_tokens": 100, "output_tokens": n_tokens, "total_tokens": 100 + n_tokens}
    whole = {**RESPONSE, "output": [], "usage": usage}
    begun = {**whole, "status": "in_progress", "usage": None}
    return [whole, {"type": "response.created", "response": begun},
            {"type": "response.completed", "response": whole}]  # fmt: skip


async def ask(
    gateway: InProcess, provider: str, surface: str, answer: list[Json], *, stream: bool
) -> Told:
    whole, *events = answer
    content = json.dumps(whole).encode()
    if stream:
        content = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
        content += b"data: [DONE]\n\n" if provider == "chat" else b""
    gateway.script.say(content, "text/event-stream" if stream else "application/json")
    told = await gateway.ask(PATHS[surface], request(surface, provider, stream=stream))
    gateway.state.gateway.health.configured_anew()
    return told


FAILED = {
    "chat": ("chat", chat(0)),
    "chat, null": ("chat", chat(0, content=None)),
    "chat, in other words": ("chat", chat(0, finish="eos")),
    "bridged": ("bridged", response(0)),
    "anthropic": ("anthropic", claude(0)),
    "gemini, no parts": ("gemini", gemini(None)),
    "gemini, empty text": ("gemini", gemini([{"text": ""}])),
    "gemini, a signature": ("gemini", gemini([{"text": "", "thoughtSignature": "s"}], n_tokens=9)),
}
NATIVE = {"bridged": "responses", "anthropic": "messages"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", FAILED)
async def test_an_answer_that_was_never_made_has_failed(
    gateway: InProcess, name: str, surface: str, stream: bool
) -> None:
    provider, answer = FAILED[name]
    told = await ask(gateway, provider, surface, answer, stream=stream)
    (row,) = gateway.settled
    if NATIVE.get(provider) == surface:
        # What passes through as it is says for itself what it is.
        assert (told.status, row.outcome) == (200, Outcome.ANSWERED)
        return
    assert told.status == 502, told.content
    assert row.outcome is Outcome.UNAVAILABLE
    assert row.cost_source is CostSource.USAGE
    assert row.usage is not None
    # Prices are 1 and 5 USD per million tokens.
    assert (
        row.cost_pico == row.usage.prompt_tokens * 10**6 + row.usage.completion_tokens * 5 * 10**6
    )
    assert row.usage.prompt_tokens == 100


MEANT = {
    "one token": ("chat", chat(1)),
    "no counts": ("chat", chat(None)),
    "cut off": ("chat", chat(0, finish="length")),
    "filtered": ("chat", chat(0, finish="content_filter")),
    "thoughts": ("chat", chat(0, reasoning_content="Hm.")),
    "a refusal": ("chat", chat(0, refusal="No.")),
    "an image": ("chat", chat(0, images=[{"type": "image_url"}])),
    "bridged, one token": ("bridged", response(1)),
    "claude after results of tools": ("anthropic", claude(3)),
    "gemini, cut off": ("gemini", gemini(None, finish="MAX_TOKENS")),
    "gemini, an image": ("gemini", gemini([{"inlineData": {"data": "AA=="}}], n_tokens=9)),
    "gemini, white space": ("gemini", gemini([{"text": " "}], n_tokens=1)),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", MEANT)
async def test_an_answer_that_may_be_meant_is_passed_on(
    gateway: InProcess, name: str, surface: str, stream: bool
) -> None:
    provider, answer = MEANT[name]
    told = await ask(gateway, provider, surface, answer, stream=stream)
    assert told.status == 200, told.content
    assert gateway.settled[0].outcome is Outcome.ANSWERED
    assert b'"error":{' not in told.content


async def test_thoughts_that_were_sent_are_followed_by_no_other_model(gateway: InProcess) -> None:
    """Whole, they were not shown to anybody: then another model answers."""
    whole, last = gemini([])
    first = {**whole, "candidates": [{"index": 0, "content": {"parts": [
        {"text": "Hm.", "thought": True}]}}]}  # fmt: skip
    told = await ask(gateway, "gemini", "chat", [whole, first, last], stream=True)
    assert (told.status, told.cut) == (200, False)
    assert b'"reasoning_content":"Hm."' in told.content
    joined = {**first, "candidates": [{**first["candidates"][0], "finishReason": "STOP"}]}
    assert (await ask(gateway, "gemini", "chat", [joined], stream=False)).status == 502


@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_model_answers(tmp_path: Path, stream: bool) -> None:
    text = config(tmp_path).replace("fallbacks: 0", "fallbacks: 1")
    text = text.replace("gemini: 1", "gemini: 2")
    async with in_process(text, {}) as gateway:

        def answer(path: str, _: Json) -> tuple[bytes, str]:
            is_gemini = UPSTREAM["gemini"] in path
            whole, *events = gemini(None) if is_gemini else chat(2, content="Hello")
            if not stream:
                return json.dumps(whole).encode(), "application/json"
            lines = [b"data: %b\n\n" % json.dumps(event).encode() for event in events]
            lines += [] if is_gemini else [b"data: [DONE]\n\n"]
            return b"".join(lines), "text/event-stream"

        gateway.script.answer = answer
        body = request("chat", "p2l", stream=stream) | {"p2l": {"models": ["gemini", "chat"]}}
        told = await gateway.ask(PATHS["chat"], body)
        assert told.status == 200, told.content
        assert b"Hello" in told.content
        assert [row.model for row in gateway.settled] == ["gemini", "chat"]
        assert gateway.settled[0].cost_pico == 100 * 10**6
