"""Converts a chat-completions body to the form of the Messages API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.upstream.anthropic.blocks import system_and_turns
from server.upstream.anthropic.native import Own
from server.upstream.anthropic.thinking import Thinking, budget_of, thinking_fields
from server.upstream.dialect import (
    InexpressibleError,
    check_fields,
    chosen_function,
    functions_of,
    output_cap,
    stop_sequences,
)
from server.upstream.tool_schemas import for_anthropic, unique
from server.wire.users import ANTHROPIC_CHARACTERS, shortened

# Fields that the Messages API has, under the same or another name.
KNOWN: Final = frozenset(
    {
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "parallel_tool_calls",
        "reasoning_effort",
        "response_format",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    }
)
# Anthropic's own fields: a caller who knows them may use them.
NATIVE: Final = frozenset(
    {"cache_control", "container", "inference_geo", "output_config", "speed", "thinking", "top_k"}
)
# Those of them whose effect no budget and no key can bound: skills and code that the provider runs.
UNBOUNDED: Final = frozenset({"container"})
# Fields that are essential to a caller and that the Messages API cannot express. Other unknown
# fields are preferences, and are left out.
INEXPRESSIBLE: Final[Mapping[str, str]] = {
    "audio": "it answers in text",
    "function_call": "use tool_choice",
    "functions": "use tools",
    "modalities": "it answers in text",
    "n": "it gives one answer",
    "web_search_options": "its search is a tool of another kind",
}
# Advisory fields that the Messages API can express.
NAMED_USER: Final = frozenset({"user", "safety_identifier"})
# The output cap where neither the caller nor the configuration sets one.
DEFAULT_MAX_TOKENS: Final = 4096
_EMPTY_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


def to_messages(
    body: Mapping[str, Any],
    model: str,
    *,
    thinking: Thinking,
    max_output_tokens: int | None,
    thinking_off: str = "disabled",
    own: Own = dict,
) -> dict[str, Any]:
    """The Messages body.

    max_output_tokens: the model's own limit, for callers who set none. thinking_off: how the model
    is told not to think, see model_facts.Thinking.off. own: see Own. Raises InexpressibleError.
    """
    wanted = check_fields(body, INEXPRESSIBLE)
    system, turns = system_and_turns(body["messages"], own)
    cap = output_cap(body)
    max_tokens = max_output_tokens or DEFAULT_MAX_TOKENS if cap is None else cap
    out: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "messages": turns}
    if system:
        plain = len(system) == 1 and "cache_control" not in system[0]
        out["system"] = system[0]["text"] if plain else system
    out |= _sampling(wanted) | (_tools(wanted) or _tools_called(turns)) | _user(wanted)
    if wanted.get("stream"):
        out["stream"] = True
    if wanted.get("reasoning_effort") is not None:
        out |= thinking_fields(str(wanted["reasoning_effort"]), thinking, max_tokens, thinking_off)
    out |= _format(wanted, out)
    out |= {name: wanted[name] for name in NATIVE if name in wanted}
    _check_thinking(out)
    return out | _room_to_think(out, free=cap is None and max_output_tokens is None)


def _room_to_think(out: Mapping[str, Any], *, free: bool) -> dict[str, Any]:
    """Raises max_tokens above the thinking budget, as the API requires. free: whether nobody has
    set a limit."""
    budget, max_tokens = budget_of(out.get("thinking")), out["max_tokens"]
    if budget < max_tokens:
        return {}
    if free:
        return {"max_tokens": budget + DEFAULT_MAX_TOKENS}
    raise InexpressibleError(
        f"a thinking budget of {budget} tokens within an output cap of {max_tokens}"
    )


def _sampling(wanted: Mapping[str, Any]) -> dict[str, Any]:
    out = {name: wanted[name] for name in ("temperature", "top_p") if name in wanted}
    if isinstance(out.get("temperature"), int | float) and out["temperature"] > 1:
        raise InexpressibleError("a temperature above 1")
    stops = stop_sequences(wanted)
    if any(not stop.strip() for stop in stops):
        raise InexpressibleError("a stop sequence of white space")
    return out | ({"stop_sequences": stops} if stops else {})


def _tools(wanted: Mapping[str, Any]) -> dict[str, Any]:
    tools = [_tool(tool, function) for tool, function in functions_of(wanted.get("tools"))]
    tools = list(unique(tools))
    if not tools:
        return {}
    choice = _tool_choice(wanted.get("tool_choice"))
    if wanted.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    # Automatic choice is the default.
    return {"tools": tools} | ({} if choice == {"type": "auto"} else {"tool_choice": choice})


def _tools_called(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The tools that a conversation has called. The API requires their definitions, although none
    may be called."""
    blocks = (block for turn in turns for block in turn["content"])
    names = dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use")
    if not names:
        return {}
    tools = [{"name": name, "input_schema": dict(_EMPTY_SCHEMA)} for name in names]
    return {"tools": tools, "tool_choice": {"type": "none"}}


def _tool(tool: Mapping[str, Any], function: Mapping[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters") or _EMPTY_SCHEMA
    out: dict[str, Any] = {"name": function["name"], "input_schema": schema}
    if function.get("description"):
        out["description"] = function["description"]
    if function.get("strict"):
        out["strict"] = True
    if tool.get("cache_control") is not None:
        out["cache_control"] = tool["cache_control"]
    return dict(for_anthropic(out))


def _tool_choice(choice: object) -> dict[str, Any]:
    match choice:
        case None | "auto":
            return {"type": "auto"}
        case "none":
            return {"type": "none"}
        case "required":
            return {"type": "any"}
    return {"type": "tool", "name": chosen_function(choice)}


def _user(wanted: Mapping[str, Any]) -> dict[str, Any]:
    user = wanted.get("safety_identifier") or wanted.get("user")
    if isinstance(user, str):
        user = shortened(user, ANTHROPIC_CHARACTERS)
    return {} if not user else {"metadata": {"user_id": user}}


def _format(wanted: Mapping[str, Any], out: Mapping[str, Any]) -> dict[str, Any]:
    response_format = wanted.get("response_format")
    if response_format is None:
        return {}
    if response_format.get("type") != "json_schema":
        raise InexpressibleError("response_format json_object: give a json_schema")
    schema = (response_format.get("json_schema") or {}).get("schema")
    if not isinstance(schema, Mapping):
        raise InexpressibleError("a response_format without a schema")
    if not _is_closed(schema):
        raise InexpressibleError("a schema whose objects allow additionalProperties")
    return {
        "output_config": {
            **out.get("output_config", {}),
            "format": {"type": "json_schema", "schema": schema},
        }
    }


def _is_closed(schema: object) -> bool:
    """Whether every object in the schema has additionalProperties: false."""
    if isinstance(schema, list):
        return all(_is_closed(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return False
    return all(_is_closed(value) for value in schema.values())


def _check_thinking(out: Mapping[str, Any]) -> None:
    """Checks the API's rules for requests with thinking. Raises InexpressibleError."""
    if (out.get("thinking") or {}).get("type") not in ("enabled", "adaptive"):
        return
    if out.get("temperature", 1) != 1 or out.get("top_p", 1) < 0.95 or "top_k" in out:
        raise InexpressibleError("temperature, top_p or top_k together with reasoning")
    if (out.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise InexpressibleError("a forced tool_choice together with reasoning")
