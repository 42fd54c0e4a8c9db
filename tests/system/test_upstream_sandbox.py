from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from server.upstream.base import UpstreamRequest
from server.upstream.errors import UpstreamRejectedError
from server.upstream.sandbox import SandboxUpstream

PROMPT = "zebra crossing quintessence"
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("first", "second")]


def ask(model: str = "m", *, stream: bool = False, **fields: Any) -> UpstreamRequest:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], **fields}
    return UpstreamRequest(body, stream, model)


def sandbox(**options: Any) -> SandboxUpstream:
    return SandboxUpstream(first_delay_s=0, delta_delay_s=0, **options)


async def whole(upstream: SandboxUpstream, **fields: Any) -> ChatCompletion:
    return ChatCompletion.model_validate((await upstream.complete(ask(**fields))).body)


async def streamed(upstream: SandboxUpstream, **fields: Any) -> list[ChatCompletionChunk]:
    async with await upstream.open_stream(ask(stream=True, **fields)) as stream:
        events = [event async for event in stream]
    assert [event.parsed for event in events] == [orjson.loads(event.data) for event in events]
    return [ChatCompletionChunk.model_validate_json(event.data) for event in events]


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [c for chunk in chunks for c in chunk.choices if c.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


@pytest.mark.parametrize("fields", [{}, {"max_tokens": 3}, {"n": 2}, {"stop": " be"}])
async def test_the_stream_and_the_whole_answer_are_one(fields: dict[str, Any]) -> None:
    reply = await whole(sandbox(), **fields)
    chunks = await streamed(sandbox(), **fields)
    for choice in reply.choices:
        assert text_of(chunks, choice.index) == choice.message.content
    reasons = [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason]
    assert reasons == [choice.finish_reason for choice in reply.choices]
    assert chunks[-1].usage == reply.usage
    assert chunks[-1].choices == []


async def test_every_answer_says_what_it_is_and_nothing_of_the_prompt() -> None:
    for fields in ({}, {"max_tokens": 1}, {"n": 3}, {"response_format": {"type": "json_object"}}):
        reply = await whole(sandbox(), **fields)
        assert reply.system_fingerprint == "sandbox"
        for choice in reply.choices:
            assert "sandbox" in (choice.message.content or "")
        assert not any(word in reply.model_dump_json() for word in PROMPT.split())


async def test_an_answer_has_the_length_expected_of_the_model() -> None:
    upstream = sandbox(expected_output_tokens={"long": 300.4, "short": 2, "none": float("nan")})
    lengths = {}
    for model in ("long", "short", "none", "other"):
        reply = await whole(upstream, model=model)
        assert reply.usage is not None
        lengths[model] = reply.usage.completion_tokens
        assert len((reply.choices[0].message.content or "").split()) == lengths[model]
    assert (lengths["long"], lengths["short"]) == (300, 2)
    assert lengths["none"] != lengths["other"]
    assert all(40 <= lengths[model] < 400 for model in ("none", "other"))


async def test_usage_is_counted_and_n_multiplies_it() -> None:
    one, three = await whole(sandbox()), await whole(sandbox(), n=3)
    assert one.usage is not None
    assert three.usage is not None
    assert one.usage.prompt_tokens == three.usage.prompt_tokens == -(-len(PROMPT) // 4)
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens
    with_tools = await whole(sandbox(), tools=TOOLS)
    assert with_tools.usage is not None
    assert with_tools.usage.prompt_tokens > one.usage.prompt_tokens


@pytest.mark.parametrize("cap", ["max_tokens", "max_completion_tokens"])
async def test_a_cap_is_kept_to(cap: str) -> None:
    reply = await whole(sandbox(), **{cap: 5})
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 5
    assert reply.choices[0].finish_reason == "length"
    assert (await whole(sandbox(), **{cap: 100_000})).choices[0].finish_reason == "stop"


async def test_a_stop_sequence_ends_the_answer_before_it() -> None:
    reply = await whole(sandbox(), stop=["never said", " not a"])
    assert reply.choices[0].message.content == "[sandbox] This is"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 3


@pytest.mark.parametrize(
    ("choice", "name"),
    [("required", "first"), ({"type": "function", "function": {"name": "second"}}, "second")],
)
async def test_a_forced_tool_is_called(choice: Any, name: str) -> None:
    reply = await whole(sandbox(), tools=TOOLS, tool_choice=choice)
    [call] = reply.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == (name, "{}")
    assert reply.choices[0].finish_reason == "tool_calls"
    chunks = await streamed(sandbox(), tools=TOOLS, tool_choice=choice)
    deltas = [d for c in chunks for x in c.choices for d in x.delta.tool_calls or []]
    assert [delta.function.name for delta in deltas if delta.function] == [name, None]
    assert "".join(d.function.arguments or "" for d in deltas if d.function) == "{}"


@pytest.mark.parametrize("choice", ["auto", "none", None])
async def test_a_tool_that_is_only_offered_is_left(choice: str | None) -> None:
    reply = await whole(sandbox(), tools=TOOLS, tool_choice=choice)
    assert reply.choices[0].message.tool_calls is None


@pytest.mark.parametrize(
    "fields", [{"messages": []}, {"messages": "hi"}, {"max_tokens": 0}, {"n": "2"}, {"n": 129}]
)
async def test_nonsense_is_refused_as_a_provider_would(fields: dict[str, Any]) -> None:
    for attempt in (whole, streamed):
        with pytest.raises(UpstreamRejectedError) as caught:
            await attempt(sandbox(), **fields)
        assert caught.value.status == 400
        assert caught.value.body["error"]["param"] in fields


async def test_the_delays_are_felt_and_alike_both_ways() -> None:
    options = {"expected_output_tokens": {"m": 16}, "first_delay_s": 0.05, "delta_delay_s": 0.02}
    upstream = SandboxUpstream(**options)
    for attempt in (whole, streamed):
        started = time.monotonic()
        await attempt(upstream)
        assert time.monotonic() - started >= 0.12
