"""A stream in place of a whole answer, and a whole answer in place of a stream."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from server.upstream.errors import UpstreamUnavailableError
from server.upstream.joined import joined
from server.upstream.mending.stream import ChatStream
from server.upstream.mending.whole import mend_answer
from server.wire.sse import SseEvent
from server.wire.surface import Surface

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


def call(index: int | None, **fields: Any) -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return chunk({"tool_calls": [{**place, **fields}]})


def framed(*events: Any) -> bytes:
    said = [one if isinstance(one, str) else json.dumps(one) for one in events]
    return "".join(f": hi\r\ndata: {one}\r\n\r\n" for one in said).encode()


def named(name: str, arguments: str) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def test_text_calls_thoughts_and_usage() -> None:
    events = [
        chunk({"role": "assistant", "content": "", "reasoning_content": "h"}),
        chunk({"reasoning_content": "m"}),
        chunk({"content": "He"}),
        chunk({"content": "y"}),
        call(0, id="a", type="function", function=named("ls", '{"x"')),
        call(0, function={"arguments": ": 1}"}),
        call(None, id="b", function=named("cd", "{}")),
        chunk({"content": "second"}, "stop", index=1),
        chunk({}, "tool_calls"),
        {"id": "c", "choices": [], "usage": USAGE},
        "[DONE]",
    ]
    body = joined("p", Surface.CHAT, framed(*events))
    assert body is not None
    assert (body["object"], body["id"], body["model"]) == ("chat.completion", "c", "m")
    assert body["usage"] == USAGE
    first, second = body["choices"]
    assert (first["finish_reason"], second["finish_reason"]) == ("tool_calls", "stop")
    message = first["message"]
    assert (message["content"], message["reasoning_content"]) == ("Hey", "hm")
    assert [one["function"] for one in message["tool_calls"]] == [
        named("ls", '{"x": 1}'), named("cd", "{}"),
    ]  # fmt: skip
    assert second["message"]["content"] == "second"
    assert mend_answer("p", body) == body


def test_the_last_event_of_a_response_holds_it() -> None:
    begun = {"type": "response.created", "response": {"output": []}}
    done = {"type": "response.completed", "response": {"output": [{"type": "message"}]}}
    content = framed(begun, {"type": "response.output_text.delta", "delta": "x"}, done)
    assert joined("p", Surface.RESPONSES, content) == done["response"]
    assert joined("p", Surface.RESPONSES, framed(begun)) is None


@pytest.mark.parametrize(
    "content",
    [
        framed(chunk({"content": "Hey"})),
        framed(chunk({"content": "Hey"}), {"error": {"message": "it broke"}}),
        framed(call(0, id="a", function=named("ls", '{"x"')), chunk({}, "tool_calls")),
    ],
)
def test_what_did_not_end_is_no_answer(content: bytes) -> None:
    with pytest.raises(UpstreamUnavailableError):
        joined("p", Surface.CHAT, content)


@pytest.mark.parametrize("content", [b"", b": hi\n\n", b"data: [DONE]\n\n", b"<html>"])
def test_nothing_is_no_answer(content: bytes) -> None:
    assert joined("p", Surface.CHAT, content) is None


@pytest.mark.parametrize("calls", [False, True])
def test_a_whole_answer_is_one_chunk_with_its_usage(calls: bool) -> None:
    made = [{"id": "a", "type": "function", "function": named("ls", "{}")}]
    message = {"role": "assistant", "content": "Hey", **({"tool_calls": made} if calls else {})}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    whole = {"id": "c", "object": "chat.completion", "choices": [choice], "usage": USAGE}
    stream = ChatStream("p")
    taken = stream.take(SseEvent(orjson.dumps(whole), parsed=whole))
    assert taken is not None
    chunks = [event.json() for event in (*taken, *stream.end())]
    assert stream.is_ended
    assert {one["object"] for one in chunks} == {"chat.completion.chunk"}
    assert [one["usage"] for one in chunks if "usage" in one] == [USAGE]
    assert not any("message" in one for piece in chunks for one in piece["choices"])
    assert chunks[0]["choices"][0]["delta"]["content"] == "Hey"
    assert chunks[-1]["choices"][0]["finish_reason"] == choice["finish_reason"]


def test_a_chunk_in_another_form_keeps_its_usage() -> None:
    """It ends the answer, and its text is repaired."""
    last = chunk({"content": [{"type": "text", "text": "Hey"}]}, "stop") | {"usage": USAGE}
    stream = ChatStream("p")
    taken = stream.take(SseEvent(orjson.dumps(last), parsed=last))
    assert taken is not None
    assert [event.json()["usage"] for event in (*taken, *stream.end())] == [USAGE]


def test_the_calls_of_a_joined_stream_keep_all_that_belongs_to_them() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "s"}}}
    custom = {"name": "sh", "input": "l"}
    first = call(0, id="a", type="function", function=named("ls", "{}"), **signed)
    told = [{"token": "H", "logprob": -0.1}]
    first["choices"][0]["logprobs"] = {"content": told, "refusal": None}
    events = [
        first,
        call(1, id="b", type="custom", custom=custom),
        call(1, custom={"input": "s"}),
        chunk({}, "tool_calls"),
    ]
    body = joined("p", Surface.CHAT, framed(*events))
    assert body is not None
    (choice,) = body["choices"]
    assert choice["logprobs"] == {"content": told, "refusal": None}
    function = {"id": "a", "type": "function", "function": named("ls", "{}"), **signed}
    assert choice["message"]["tool_calls"] == [
        function, {"id": "b", "type": "custom", "custom": {"name": "sh", "input": "ls"}},
    ]  # fmt: skip


def test_items_that_the_last_event_of_a_response_lacks_are_those_of_the_others() -> None:
    item = {"type": "message", "content": []}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    last = {"type": "response.completed", "response": {"id": "r", "output": []}}
    assert joined("p", Surface.RESPONSES, framed(done, last)) == {"id": "r", "output": [item]}
