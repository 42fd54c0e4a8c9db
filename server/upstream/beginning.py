"""Detects whether a streamed answer has begun: until it has content, another model can still
answer.

An overloaded provider may report it after it has opened the stream, with a chunk that holds only
the role or an event that announces the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.wire.shapes import part, word

# Events of the Messages and the Responses API that announce an answer without any content.
_ANNOUNCING: Final = frozenset(
    {
        "keepalive",
        "message_start",
        "ping",
        "response.content_part.added",
        "response.created",
        "response.in_progress",
        "response.keepalive",
        "response.queued",
        "response.reasoning_summary_part.added",
    }
)
# What a delta may have beside content: extra_content is a signature.
_BESIDE: Final = frozenset({"role", "extra_content"})
_OPENING: Final = frozenset({"content_block_start", "response.output_item.added"})
_SAID_WHEN_OPENED: Final = frozenset({"text", "thinking", "message", "reasoning"})


def has_begun(event: Mapping[str, Any] | None) -> bool:
    """Whether an event of a stream, on whichever surface, has content of the answer."""
    if event is None:
        return True
    kind = word(event.get("type"))
    if kind in _ANNOUNCING:
        return False
    if kind in _OPENING:
        opened = part(event, "content_block") or part(event, "item")
        return word(opened.get("type")) not in _SAID_WHEN_OPENED
    choices = event.get("choices")
    if not isinstance(choices, list):
        return True
    return any(isinstance(choice, dict) and _says(choice) for choice in choices)


def _says(choice: Mapping[str, Any]) -> bool:
    # The end of an answer that has said nothing is no beginning.
    if choice.get("text"):
        return True
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return False
    return any(value for name, value in delta.items() if name not in _BESIDE)
