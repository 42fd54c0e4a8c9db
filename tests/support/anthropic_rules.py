"""What Anthropic refuses of what coding agents send: turns of the system within the messages, tools
that come and go, the management of a context. From its reference; in its own words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
# Fields that a beta opens: the beginning of its name.
BETA_FIELDS = {"context_management": "context-management", "diagnostics": "cache-diagnosis"}
_TURN_FIELDS = {"output_config": ("mid-conversation-output-config", "per-turn-control"),
                "clear_at": ("mid-conversation-system-clear-at",)}  # fmt: skip
_CHANGES = ("tool_addition", "tool_removal")
_KNOWS_SYSTEM = re.compile(r"claude-(opus-(4-8|5)|(sonnet|haiku)-5-5|fable-5|mythos-5)")
_KNOWS_EFFORTS = re.compile(r"claude-((opus|sonnet|haiku)-5-5|opus-5|fable-5-[12]|mythos-5-[12])")


def agent_fault(body: Json, betas: str) -> str | None:
    """betas: the anthropic-beta header."""
    return next(_faults(body, betas), None)


def _faults(body: Json, betas: str) -> Iterator[str]:
    for name, beta in BETA_FIELDS.items():
        if name in body and beta not in betas:
            yield f"{name}: Extra inputs are not permitted"
    thinking = (body.get("thinking") or {}).get("type")
    for edit in (body.get("context_management") or {}).get("edits") or ():
        if edit["type"].startswith("clear_thinking") and thinking not in ("enabled", "adaptive"):
            yield "`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive"
    if len((body.get("metadata") or {}).get("user_id") or "") > 256:
        yield "metadata.user_id: String should have at most 256 characters"
    yield from _tools(body)
    for index in range(len(body["messages"])):
        if body["messages"][index]["role"] == "system":
            yield from _system_turn(body, betas, index)


def _system_turn(body: Json, betas: str, index: int) -> Iterator[str]:
    turns, model = body["messages"], body["model"]
    turn = turns[index]
    if not _KNOWS_SYSTEM.match(model):
        yield "role 'system' is not supported on this model"
    if index == 0 or turns[index - 1]["role"] != "user":
        yield f"messages.{index}: a system message must follow a user message"
    if index + 1 < len(turns) and turns[index + 1]["role"] != "assistant":
        yield f"messages.{index}: a system message must be last or be followed by the assistant"
    for name, opened_by in _TURN_FIELDS.items():
        if name in turn and not any(beta in betas for beta in opened_by):
            yield f"messages.{index}.{name}: Extra inputs are not permitted"
    if "output_config" in turn and not _KNOWS_EFFORTS.match(model):
        yield f"messages.{index}.output_config: not supported on this model"
    content = turn.get("content")
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    if not content and "output_config" not in turn:
        yield f"messages.{index}: system messages must have content"
    for block in blocks if content else ():
        if block["type"] in _CHANGES and "mid-conversation-tool-changes" not in betas:
            yield f"messages.{index}.content.0: Input tag '{block['type']}' was not expected"
        elif block["type"] not in ("text", *_CHANGES):
            yield f"messages.{index}.content.0: system messages are text"


def _tools(body: Json) -> Iterator[str]:
    tools = body.get("tools") or []
    if tools and all(tool.get("defer_loading") for tool in tools):
        yield "At least one tool must have defer_loading=false"
    names = {tool.get("name") for tool in tools}
    for turn in body["messages"]:
        for block in turn["content"] if isinstance(turn.get("content"), list) else ():
            inside = block.get("content") if block["type"] == "tool_result" else None
            for part in inside if isinstance(inside, list) else ():
                if part["type"] == "tool_reference" and part["tool_name"] not in names:
                    yield f"Tool reference '{part['tool_name']}' not found in available tools"
