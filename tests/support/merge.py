"""A streamed chat completion put together again."""

from __future__ import annotations

import json
from typing import Any


def sse_events(text: str) -> list[Any]:
    """The payloads of a stream; `[DONE]` as it is."""
    lines = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def merged(chunks: list[dict[str, Any]], index: int = 0) -> dict[str, Any]:
    """{"message", "finish_reason", "usage", "id"} of one choice."""
    message: dict[str, Any] = {"content": None}
    calls: dict[int, dict[str, Any]] = {}
    found: dict[str, Any] = {"message": message, "finish_reason": None, "usage": None}
    for chunk in chunks:
        found["id"] = chunk["id"]
        found["usage"] = chunk.get("usage") or found["usage"]
        for choice in chunk["choices"]:
            if choice["index"] == index:
                _add(message, calls, choice["delta"])
                found["finish_reason"] = choice["finish_reason"] or found["finish_reason"]
    if calls:
        message["tool_calls"] = [calls[number] for number in sorted(calls)]
    return found


def _add(message: dict[str, Any], calls: dict[int, dict[str, Any]], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for part in value:
                _add_call(calls, part)
        elif name in ("content", "reasoning_content", "refusal") and value is not None:
            message[name] = (message.get(name) or "") + value
        elif name == "thinking_blocks":
            message.setdefault(name, []).extend(value)
        elif value is not None:
            message[name] = value


def _add_call(calls: dict[int, dict[str, Any]], part: dict[str, Any]) -> None:
    fields = {name: value for name, value in part.items() if name not in ("index", "function")}
    call = calls.setdefault(part["index"], {"function": {"name": "", "arguments": ""}})
    call |= fields
    for name, text in part.get("function", {}).items():
        call["function"][name] += text
