"""Converts an answer of the Messages API to a chat completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from server.upstream.mending.words import new_completion_id
from server.wire.surface import Surface
from server.wire.usage import openai_usage, parse_usage, stated

FINISH_REASONS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})


def finish_reason(stop_reason: object) -> str:
    """OpenAI's finish reason for a stop reason."""
    return FINISH_REASONS.get(str(stop_reason), "stop")


def usage_of(usage: object) -> dict[str, Any] | None:
    """OpenAI's usage object; None where there are no counts."""
    parsed = parse_usage(usage, Surface.MESSAGES)
    return None if parsed is None else openai_usage(parsed) | stated(usage)


def to_completion(message: Mapping[str, Any], created: int) -> dict[str, Any]:
    """Converts a whole answer of the shape MESSAGE. created: Unix time in seconds."""
    choice = {
        "index": 0,
        "message": _message(message["content"]),
        "logprobs": None,
        "finish_reason": finish_reason(message.get("stop_reason")),
        "native_finish_reason": message.get("stop_reason"),
    }
    body = {
        "id": message.get("id") or new_completion_id(),
        "object": "chat.completion",
        "created": created,
        "model": message.get("model"),
        "choices": [choice],
    }
    usage = usage_of(message.get("usage"))
    return body if usage is None else body | {"usage": usage}


def _message(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    texts = [block["text"] for block in blocks if block.get("type") == "text"]
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    thoughts = [block for block in blocks if block.get("type") in _THOUGHTS]
    out: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
        "refusal": None,
    }
    if calls:
        out["tool_calls"] = calls
    if thoughts:
        out["reasoning_content"] = "".join(block.get("thinking") or "" for block in thoughts)
        # The next turn must send them back: their signatures cannot be made again.
        out["thinking_blocks"] = thoughts
    return out


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments = orjson.dumps(block.get("input") or {}).decode()
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}
