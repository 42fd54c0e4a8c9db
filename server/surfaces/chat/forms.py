"""Requests for chat completions that some clients write in the form of the Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from server.surfaces.chat.request import ChatRequest, parse_chat_request
from server.surfaces.responses.request import parse_responses_request
from server.wire.surface import Surface


def parse_any_chat_request(body: Mapping[str, Any]) -> ChatRequest:
    """Parses like parse_chat_request. A body with `input` in place of `messages` has the form of
    the Responses API, as Cursor sends it; it is answered with a chat completion. Raises
    InvalidRequestError."""
    if "messages" not in body and "input" in body:
        parsed = parse_responses_request(body)
        return replace(parsed, surface=Surface.CHAT, native=None, turn=None)
    tools = body.get("tools")
    if isinstance(tools, list) and any(map(_is_flat, tools)):
        body = {**body, "tools": [_nested(tool) for tool in tools]}
        if _is_flat(body.get("tool_choice")):
            body["tool_choice"] = _nested(body["tool_choice"])
    return parse_chat_request(body)


def _is_flat(tool: object) -> bool:
    """Whether a tool is a function in the form of the Responses API."""
    return (
        isinstance(tool, dict)
        and tool.get("type") == "function"
        and "function" not in tool
        and isinstance(tool.get("name"), str)
    )


def _nested(tool: Any) -> Any:
    if not _is_flat(tool):
        return tool
    return {"type": "function", "function": {n: v for n, v in tool.items() if n != "type"}}
