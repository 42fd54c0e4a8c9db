"""Fields of the wrong kind are named, whichever dialect the model speaks."""

from __future__ import annotations

from typing import Any

import pytest

from server.errors import InvalidRequestError
from server.surfaces.chat.request import parse_chat_request

HELLO: dict[str, Any] = {"model": "p2l", "messages": [{"role": "user", "content": "hi"}]}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", "hot"),
        ("temperature", True),
        ("stop", [[]]),
        ("stop", 5),
        ("tools", {}),
        ("tools", [[]]),
        ("tools", [{"type": "function"}]),
        ("tools", [{"type": "function", "function": {"name": 5}}]),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": []}}]),
        ("tool_choice", {"type": "function", "function": {}}),
        ("response_format", "json"),
        ("response_format", {"type": "json_schema", "json_schema": []}),
        ("modalities", 5),
        ("reasoning_effort", []),
        ("metadata", []),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_chat_request(HELLO | {field: value})
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": {}, "content": "x"}, "messages[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "messages[0].content[0].text"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "x"}]},
            "messages[0].content[0].image_url",
        ),
        ({"role": "assistant", "tool_calls": [{}]}, "messages[0].tool_calls"),
        ({"role": "tool", "tool_call_id": 5, "content": "x"}, "messages[0].tool_call_id"),
    ],
)
def test_a_message_of_the_wrong_shape_is_named(message: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_chat_request({"model": "p2l", "messages": [message]})
    assert caught.value.param == param


def test_what_is_right_or_unknown_passes() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}, {"type": "web_search"}]
    message = {"role": "assistant", "content": None, "tool_calls": [CALL], "annotations": []}
    parts = [{"type": "text", "text": "x"}, {"type": "thinking", "thinking": "y"}]
    body = HELLO | {"tools": tools, "stop": None, "seed": 1, "n": 2, "new_field": [1]}
    body["messages"] = [*HELLO["messages"], message, {"role": "user", "content": parts}]
    parse_chat_request(body)
