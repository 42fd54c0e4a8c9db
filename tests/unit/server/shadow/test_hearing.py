"""The text of an answer that passes, on each surface; nothing of one that cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from server.shadow.hearing import Listener, heard, text_of
from server.upstream.errors import UpstreamError
from server.wire.sse import SseEvent


def chat(content: object, reason: str = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more}
    return {"choices": [{"message": message, "finish_reason": reason}]}


def block(**fields: Any) -> dict[str, Any]:
    return {"type": "message", "stop_reason": "end_turn", "content": [fields]}


THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hidden"}]}
TEXT = {"type": "message", "content": [{"type": "output_text", "text": "said"}]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (chat("said"), "said"),
        (chat("half", "length"), None),
        (chat(None, "tool_calls", tool_calls=[{"id": "c"}]), None),
        (chat("text beside a call", tool_calls=[{"id": "c"}]), None),
        (chat(" \n"), None),
        (chat("x" * 60_001), None),
        ({"choices": [*chat("one")["choices"], *chat("two")["choices"]]}, None),
        (block(type="text", text="said"), "said"),
        (block(type="tool_use", id="t", name="f", input={}), None),
        ({"stop_reason": "max_tokens", "content": [{"type": "text", "text": "half"}]}, None),
        ({"status": "completed", "output": [THOUGHT, TEXT]}, "said"),
        ({"status": "completed", "output": [TEXT, {"type": "function_call", "name": "f"}]}, None),
        ({"status": "incomplete", "output": [TEXT]}, None),
        ({}, None),
    ],
)
def test_the_text_of_a_whole_answer(body: dict[str, Any], text: str | None) -> None:
    assert text_of(body) == text


def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (chunk({"content": "a"}), ("a", True, False)),
        (chunk({}, "stop"), ("", True, True)),
        (chunk({"content": "z"}, "stop"), ("z", True, True)),
        (chunk({}, "length"), ("", False, False)),
        (chunk({"tool_calls": [{"index": 0}]}), ("", False, False)),
        (chunk({"reasoning_content": "hidden"}), ("", True, False)),
        ({"choices": [], "usage": {}}, ("", True, False)),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
         ("a", True, False)),
        ({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "h"}},
         ("", True, False)),
        ({"type": "content_block_start", "content_block": {"type": "tool_use"}},
         ("", False, False)),
        ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, ("", True, True)),
        ({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}, ("", False, False)),
        ({"type": "message_stop"}, ("", True, False)),
        ({"type": "response.output_text.delta", "delta": "a"}, ("a", True, False)),
        ({"type": "response.output_item.added", "item": {"type": "function_call"}},
         ("", False, False)),
        ({"type": "response.output_item.added", "item": {"type": "reasoning"}},
         ("", True, False)),
        ({"type": "response.completed", "response": {}}, ("", True, True)),
        ({"type": "response.incomplete", "response": {}}, ("", False, False)),
    ],
)  # fmt: skip
def test_an_event_of_a_stream(event: dict[str, Any], told: tuple[str, bool, bool]) -> None:
    assert heard(event) == told


class Passing:
    """A stream, and the meter that it has: it counts the events."""

    def __init__(self) -> None:
        self.meter: Any = self
        self.n_seen = 0

    def saw(self, events: Sequence[SseEvent]) -> None:
        self.n_seen += len(events)

    def ended(self) -> None:
        self.n_seen += 100

    def closed(self) -> None:
        self.n_seen += 1_000

    def broke(self, error: UpstreamError) -> None:
        raise AssertionError(error)


@pytest.mark.parametrize("reason", [["stop"], {}, 5, "stop"])
def test_what_cannot_be_read_or_offered_harms_nobody(
    reason: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream goes on as without a listener, and the log has nothing of the text."""
    offered: list[str] = []

    def refuse(text: str) -> None:
        offered.append(text)
        raise ValueError(text)

    stream: Any = Passing()
    listener = Listener(stream, refuse)
    for choice in ({"delta": {"content": "canary"}}, {"delta": {}, "finish_reason": reason}):
        event = {"choices": [choice]}
        listener.saw([SseEvent(data=b"", parsed=event)])
    listener.ended()
    listener.closed()
    assert stream.n_seen == 1_102
    assert offered == (["canary"] if reason == "stop" else [])
    assert "canary" not in caplog.text
