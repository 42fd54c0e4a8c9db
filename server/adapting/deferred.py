"""Converts tools that are loaded later, for models of the Messages API that do not support them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.adapting.draft import Draft
from server.adapting.tool_changes import without_deferral
from server.model_facts import ModelFacts
from server.wire.tools import searches_tools

_SEARCHES: Final = ("server_tool_use", "tool_search_tool_result")


def fit_deferred_tools(draft: Draft, facts: ModelFacts | None) -> None:
    """Loads all tools at once, removes the tool search, and describes its results as text. facts:
    None for a model that is not Anthropic's."""
    if facts is not None and facts.vendor == "anthropic" and facts.tools.deferred:
        return
    tools = draft.get("tools")
    if not isinstance(tools, list) or not any(map(_is_new, tools)):
        return
    for tool in filter(searches_tools, tools):
        draft.name(f"tools.{tool['type'][:60]}")
    draft.put("tools", [without_deferral(tool) for tool in tools if not searches_tools(tool)])
    turns = draft.get("messages")
    said = [_turn(turn) for turn in turns] if isinstance(turns, list) else []
    if any(new is not old for new, old in zip(said, turns or (), strict=True)):
        draft.put("messages", said)


def tool_found(name: object) -> str:
    """A reference to a tool, as text."""
    return f"The tool {name} is loaded."


def _is_new(tool: Any) -> bool:
    return searches_tools(tool) or (isinstance(tool, Mapping) and "defer_loading" in tool)


def _turn(turn: Mapping[str, Any]) -> Mapping[str, Any]:
    blocks = turn.get("content")
    if not isinstance(blocks, list):
        return turn
    said = [_block(block) for block in blocks if not _is_search(block)]
    if len(said) == len(blocks) and all(map(_same, said, blocks)):
        return turn
    # An answer that only searched keeps its place.
    return {**turn, "content": said or [{"type": "text", "text": "(searched for tools)"}]}


def _is_search(block: Mapping[str, Any]) -> bool:
    named = str(block.get("name", "tool_search_tool"))
    return block.get("type") in _SEARCHES and named.startswith("tool_search_tool")


def _block(block: Mapping[str, Any]) -> Mapping[str, Any]:
    inside = block.get("content")
    if block.get("type") != "tool_result" or not isinstance(inside, Sequence):
        return block
    if isinstance(inside, str) or all(part.get("type") != "tool_reference" for part in inside):
        return block
    return {**block, "content": [_part(part) for part in inside]}


def _part(part: Mapping[str, Any]) -> Mapping[str, Any]:
    if part.get("type") != "tool_reference":
        return part
    return {"type": "text", "text": tool_found(part.get("tool_name"))}


def _same(one: object, other: object) -> bool:
    return one is other
