"""Checks a body of the Messages API and converts it to the form of chat completions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from starlette.datastructures import Headers

from server.errors import InvalidRequestError
from server.surfaces.chat.request import (
    ChatRequest,
    in_words_of,
    parse_chat_request,
    without_ours,
)
from server.surfaces.messages.blocks import Bridge, kept_in
from server.upstream.anthropic.thinking import tokens_within_cap
from server.upstream.fields import OURS
from server.upstream.seal import UNSIGNED, is_sealed
from server.wire.surface import Surface
from server.wire.tools import only_provider_runs, runs_in_messages, searches_tools

_SAME: Final = frozenset({"model", "stream", "temperature", "top_k", "top_p"})
# Fields with an equivalent of another name, or without influence on the answer.
_OTHERWISE: Final = frozenset(
    {
        "cache_control",
        "max_tokens",
        "messages",
        "metadata",
        "output_config",
        "service_tier",
        "stop_sequences",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
# Fields that another provider could ignore only by giving a wrong answer. Other fields that chat
# completions do not know are preferences or ask for reports: they are dropped.
_NEEDED: Final = frozenset(
    {"compaction", "container", "inference_geo", "mcp_servers", "speed", "thread"}
)
_NOTHING: Final[tuple[Any, ...]] = ([], {}, "standard")
# With more tools than this, tools that are not loaded yet are left out.
_MOST_TOOLS: Final = 128
_OWN: Final = ("custom", "None")
# Names for errors, which would otherwise show those of chat completions.
_NAMES: Final = {
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
}
# The values by which a Messages body asks for an answer without thoughts.
_OFF: Final = ("disabled", "between_tools")
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
# The effort for a thinking budget in tokens: the smallest budget of each effort.
_EFFORTS: Final = ((16_000, "high"), (4_000, "medium"), (0, "low"))
_BETA: Final = re.compile(r"[!-+\--~]+")


def betas_in(headers: Headers) -> str | None:
    """The caller's anthropic-beta headers joined into one, each name once; None where there is
    none."""
    given = ",".join(headers.getlist("anthropic-beta")).split(",")
    names = dict.fromkeys(name for one in given if _BETA.fullmatch(name := one.strip()))
    return ",".join(names) or None


def parse_messages_request(body: Mapping[str, Any], betas: str | None = None) -> ChatRequest:
    """Parses a Messages body. betas: see betas_in. Raises InvalidRequestError, which names the
    field."""
    wanted = {name: value for name, value in body.items() if value is not None}
    bridge = Bridge()
    bridge.system(wanted.get("system"))
    bridge.add(wanted.get("messages"))
    chat = {name: wanted[name] for name in _SAME if name in wanted}
    chat |= _cap(wanted) | _user(wanted) | _tools(wanted, bridge) | _thinking(wanted, bridge)
    if wanted.get("stop_sequences"):
        chat["stop"] = wanted["stop_sequences"]
    for name in wanted:
        if name in _SAME or name in _OTHERWISE or name in OURS or wanted[name] in _NOTHING:
            continue
        if name in _NEEDED:
            bridge.lacks(f"{name} outside the Messages API")
        else:
            bridge.leaves_out(name)
    chat["messages"] = bridge.messages
    with in_words_of(_NAMES):
        parsed = parse_chat_request(chat)
    thinking = wanted.get("thinking")
    return replace(
        parsed,
        surface=Surface.MESSAGES,
        native={**without_ours(body), "messages": _signed(body["messages"])},
        native_only=bridge.gap,
        bridged_without=tuple(bridge.left_out),
        headers={} if betas is None else {"anthropic-beta": betas},
        server_tools=only_provider_runs(
            [*(wanted.get("tools") or ()), *bridge.changes.defined], _has_no_fee
        ),
        thinking_tokens=tokens_within_cap(thinking, betas),
        thinks_not=isinstance(thinking, dict) and thinking.get("type") in _OFF,
    )


def _cap(wanted: Mapping[str, Any]) -> dict[str, Any]:
    cap = wanted.get("max_tokens")
    if isinstance(cap, bool) or not isinstance(cap, int) or cap < 1:
        raise InvalidRequestError(
            "max_tokens must be a whole number of at least 1.", param="max_tokens"
        )
    return {"max_completion_tokens": cap}


def _user(wanted: Mapping[str, Any]) -> dict[str, Any]:
    metadata = wanted.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    return {} if user is None else {"user": user}


def _tools(wanted: Mapping[str, Any], bridge: Bridge) -> dict[str, Any]:
    tools = wanted.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise InvalidRequestError("tools must be a list.", param="tools")
    for index, tool in enumerate(tools or ()):
        if not isinstance(tool, dict):
            place = f"tools[{index}]"
            raise InvalidRequestError(f"{place} must be an object.", param=place)
    offered = bridge.changes.applied(tools or ())
    if len(offered) > _MOST_TOOLS:
        offered = [tool for tool in offered if not tool.get("defer_loading")]
    own = [tool for tool in offered if runs_in_messages(tool)]
    functions = [function for tool in own if (function := _function(tool, bridge)) is not None]
    _leave_hosted_out(
        [tool for tool in offered if not runs_in_messages(tool)],
        bridge,
        can_do_without=bool(own) and not _forces_one_of(offered, wanted.get("tool_choice")),
    )
    return _choice(wanted, functions) if functions else {}


def _leave_hosted_out(
    tools: Sequence[Mapping[str, Any]], bridge: Bridge, *, can_do_without: bool
) -> None:
    """Leaves out tools that Anthropic runs: beside the caller's own tools they are optional."""
    for tool in tools:
        kind = str(tool.get("type", "custom"))
        # There is nothing to search where all tools are loaded.
        if searches_tools(tool) or (can_do_without and kind not in _OWN):
            bridge.leaves_out(f"tools.{kind[:60]}")
        else:
            bridge.lacks(f"the tool {kind[:40]}")


def _forces_one_of(tools: Sequence[Mapping[str, Any]], choice: Any) -> bool:
    """Whether a tool_choice forces the call of a tool that Anthropic runs."""
    name = choice.get("name") if isinstance(choice, dict) else None
    hosted = [tool.get("name") for tool in tools if not runs_in_messages(tool)]
    return name is not None and name in hosted


def _function(tool: Mapping[str, Any], bridge: Bridge) -> dict[str, Any] | None:
    if tool.get("type", "custom") != "custom":
        bridge.lacks(f"the tool {str(tool.get('type'))[:40]}")
        return None
    function = {"name": tool.get("name"), "parameters": tool["input_schema"]}
    function |= {name: tool[name] for name in ("description", "strict") if tool.get(name)}
    return {"type": "function", "function": function}


def _has_no_fee(tool: Any) -> bool:
    """Whether a tool costs nothing besides tokens: the caller's own tools, and the tool search."""
    return runs_in_messages(tool) or searches_tools(tool)


def _choice(wanted: Mapping[str, Any], functions: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {"tools": functions}
    choice = wanted.get("tool_choice")
    if choice is None:
        return out
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "tool":
        out["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif isinstance(kind, str) and kind in _CHOICES:
        out["tool_choice"] = _CHOICES[kind]
    else:
        raise InvalidRequestError(
            "tool_choice.type must be auto, any, tool or none.", param="tool_choice"
        )
    if choice.get("disable_parallel_tool_use"):
        out["parallel_tool_calls"] = False
    return out


def _thinking(wanted: Mapping[str, Any], bridge: Bridge) -> dict[str, Any]:
    out: dict[str, Any] = {}
    config = wanted.get("output_config")
    config = config if isinstance(config, dict) else {}
    if bridge.effort is not None:
        config = {**config, "effort": bridge.effort}
    thinking = wanted.get("thinking")
    thinking = thinking if isinstance(thinking, dict) else {}
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        budget = budget if isinstance(budget, int) else 0
        out["reasoning_effort"] = next(
            (effort for least, effort in _EFFORTS if budget >= least), _EFFORTS[-1][1]
        )
    elif thinking.get("type") == "adaptive":
        out["reasoning_effort"] = config.get("effort", "high")
    elif config.get("effort") is not None and thinking.get("type") is None:
        out["reasoning_effort"] = config["effort"]
    form = config.get("format")
    if isinstance(form, dict):
        schema = {"name": "answer", "schema": form.get("schema"), "strict": True}
        out["response_format"] = {"type": "json_schema", "json_schema": schema}
    for name, value in config.items():
        if name not in ("effort", "format") and value is not None:
            bridge.leaves_out(f"output_config.{name}")
    return out


def _is_foreign(block: dict[str, Any]) -> bool:
    return block.get("signature") == UNSIGNED or is_sealed(kept_in(block))


def _signed(messages: list[Any]) -> list[Any]:
    """The messages without thoughts of other providers, which Anthropic would refuse, and without
    turns that hold nothing else."""
    signed = []
    for message in messages:
        content = message.get("content")
        kept = content
        if isinstance(content, list) and any(map(_is_foreign, content)):
            kept = [block for block in content if not _is_foreign(block)]
        if kept is content:
            signed.append(message)
        elif kept:
            signed.append(message | {"content": kept})
    return signed
