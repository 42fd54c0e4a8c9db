"""Determines who runs a tool: the caller, or the provider at a price that nothing bounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

_CHAT: Final = frozenset({"function", "custom"})
_RESPONSES: Final = _CHAT | {"apply_patch", "computer", "computer_use_preview", "local_shell"}
# Anthropic's own tools that the caller runs: each has the date of its version.
_MESSAGES: Final = re.compile(r"(bash|computer|memory|text_editor)_[0-9]{8}")

# Anthropic's search among tools that are not loaded: it reads only the request, and has no fee.
_SEARCH: Final = "tool_search_tool_"

Runs = Callable[[Any], bool]


def runs_in_chat(tool: Any) -> bool:
    """Whether the caller runs a tool of chat completions."""
    return isinstance(tool, dict) and _one_of(tool.get("type"), _CHAT)


def runs_in_responses(tool: Any) -> bool:
    """Whether the caller runs a tool of the Responses API. A namespace counts like the tools in
    it."""
    if not isinstance(tool, dict):
        return False
    match tool.get("type"):
        case "namespace":
            inside = tool.get("tools")
            return isinstance(inside, list) and all(map(runs_in_chat, inside))
        case "shell":
            place = tool.get("environment")
            return isinstance(place, dict) and place.get("type") == "local"
        case "tool_search":
            return tool.get("execution") == "client"
        case kind:
            return _one_of(kind, _RESPONSES)


def runs_in_messages(tool: Any) -> bool:
    """Whether the caller runs a tool of the Messages API."""
    if not isinstance(tool, dict):
        return False
    kind = tool.get("type")
    if kind is None or kind == "custom":
        return "input_schema" in tool
    return isinstance(kind, str) and _MESSAGES.fullmatch(kind) is not None


def searches_tools(tool: Any) -> bool:
    """Whether a tool of the Messages API is Anthropic's search among tools that are not loaded."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    return isinstance(kind, str) and kind.startswith(_SEARCH)


def only_provider_runs(tools: Any, runs: Runs) -> bool:
    """Whether the provider runs all of the tools: then the request depends on them. Beside a
    caller's own tools they are optional. runs: see above."""
    return isinstance(tools, list) and len(tools) > 0 and not any(map(runs, tools))


def _one_of(kind: Any, kinds: frozenset[str]) -> bool:
    return isinstance(kind, str) and kind in kinds
