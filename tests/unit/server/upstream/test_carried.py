"""What an answer's provider wants back comes back, whichever API the caller speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from server.surfaces.messages.reply import MessageEvents, to_message
from server.surfaces.messages.request import parse_messages_request
from server.surfaces.responses.reply import blank_response, to_response
from server.surfaces.responses.request import parse_responses_request
from server.surfaces.responses.stream import ResponseStream
from server.surfaces.responses.tools import Toolbox
from server.upstream.gemini.request import to_generate_content
from server.upstream.history import mended, targets
from server.upstream.seal import sealed

SIGNED = {"extra_content": {"google": {"thought_signature": "g-sig"}}}
CALL: dict[str, Any] = {
    "id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"},
}  # fmt: skip
SEALED = sealed([{"type": "openai.reasoning", "item": {"id": "rs_1"}, "tag": "t"}])
ANSWERS: dict[str, dict[str, Any]] = {
    "deepseek": {"reasoning_content": "I need it.", "tool_calls": [CALL]},
    "gemini": {"reasoning_content": "I need it.", "tool_calls": [{**CALL, **SIGNED}]},
    "gemini, no thoughts shown": {"tool_calls": [{**CALL, **SIGNED}]},
    "openai": {
        "reasoning_content": "In short.",
        "reasoning_details": [{"type": "reasoning.encrypted", "data": SEALED}],
        "tool_calls": [CALL],
    },
}


def chunks_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answer as its provider streams it."""
    deltas: list[dict[str, Any]] = []
    for name, value in message.items():
        if name == "tool_calls":
            deltas += [{"tool_calls": [{"index": n, **call}]} for n, call in enumerate(value)]
        else:
            deltas.append({name: value})
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return [*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}]


def over_messages(message: Mapping[str, Any], *, stream: bool) -> list[dict[str, Any]]:
    """The conversation as the next request of a caller of /v1/messages has it."""
    if stream:
        blocks: list[dict[str, Any]] = []
        events = MessageEvents("m")
        made = [e for chunk in chunks_of(message) for e in events.chunk(chunk)] + [*events.end()]
        for event in made:
            if event["type"] == "content_block_start":
                blocks.append(dict(event["content_block"]))
            elif event["type"] == "content_block_delta":
                delta = event["delta"]
                for name in ("thinking", "signature", "text"):
                    if name in delta:
                        blocks[-1][name] = blocks[-1].get(name, "") + delta[name]
    else:
        choice = {"message": message, "finish_reason": "tool_calls"}
        blocks = to_message({"choices": [choice]}, "m")["content"]
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "here"}
    turns = [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": [result]},
    ]
    body = {"model": "p2l", "max_tokens": 9, "messages": turns}
    return list(parse_messages_request(body).body["messages"])


def over_responses(message: Mapping[str, Any], *, stream: bool) -> list[dict[str, Any]]:
    """The same, of a caller of /v1/responses."""
    begun = blank_response({"model": "p2l"}, "m")
    if stream:
        events = ResponseStream(begun, Toolbox(), with_thoughts=True)
        made = [e for chunk in chunks_of(message) for e in events.chunk(chunk)] + [*events.end()]
        output = made[-1]["response"]["output"]
    else:
        whole = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
        output = to_response(whole, begun, Toolbox(), with_thoughts=True)["output"]
    # clients leave out what is no field of OpenAI's
    output = [{n: v for n, v in item.items() if n != "extra_content"} for item in output]
    items = [
        {"role": "user", "content": "Where?"},
        *output,
        {"type": "function_call_output", "call_id": "c1", "output": "here"},
    ]
    return list(parse_responses_request({"model": "p2l", "input": items}).body["messages"])


WAYS = [over_messages, over_responses]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ANSWERS)
def test_it_comes_back_to_who_wants_it(name: str, way: Any, stream: bool) -> None:
    answer = ANSWERS[name]
    messages = way(answer, stream=stream)
    shown = answer.get("reasoning_content")
    sent = mended(messages, targets.DEEPSEEK)
    called = next(m for m in sent if m.get("tool_calls"))
    assert shown is None or called["reasoning_content"] == shown
    contents = to_generate_content({"messages": messages}, "gemini-3.1-pro")["contents"]
    parts = [part for content in contents for part in content["parts"]]
    (signature,) = [p["thoughtSignature"] for p in parts if "functionCall" in p]
    expected = "g-sig" if name.startswith("gemini") else "skip_thought_signature_validator"
    assert signature == expected
    own = mended(messages, targets.RESPONSES)
    assert (SEALED in str(own)) == (name == "openai")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ANSWERS)
def test_it_goes_to_nobody_else(name: str, way: Any) -> None:
    messages = way(ANSWERS[name], stream=False)
    for rules in (targets.OPENAI, targets.GROQ, targets.MISTRAL, targets.GENERIC):
        sent = str(mended(messages, rules))
        assert "p2l1." not in sent
        assert "p2l-unsigned" not in sent
