"""Checks a body of the Responses API and converts it to the form of chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from server.errors import InvalidRequestError
from server.surfaces.chat.request import ChatRequest, flag, in_words_of, parse_chat_request
from server.surfaces.responses.items import Bridge
from server.surfaces.responses.turn import Item, Turn, native_history
from server.wire.surface import Surface

# Fields that chat completions have under the same name.
_SAME: Final = frozenset(
    {
        "metadata",
        "model",
        "moderation",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "user",
    }
)
# Fields that chat completions have under another name, or express by messages.
_OTHERWISE: Final = frozenset(
    {
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "reasoning",
        "store",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
    }
)
# Fields that are refused for every provider: they would store something at the provider.
REFUSED: Final[Mapping[str, str]] = {
    "background": "responses are not made in the background. Leave it out",
    "background_options": "responses are not made in the background. Leave it out",
    # At the provider it could be another key's, and would bring an input of unknown length.
    "conversation": "conversations that a provider stores cannot be continued here. Send the items "
    "as input, or continue an earlier response with previous_response_id (storage.keep_responses); "
    "X-Session-Id names a session",
}
# Values that mean the same here as leaving the field out.
_NEUTRAL: Final[Mapping[str, tuple[object, ...]]] = {
    "background": (False,),
    "truncation": ("disabled",),
    "context_management": ([],),
}
_INCLUDED: Final = frozenset({"reasoning.encrypted_content", "message.output_text.logprobs"})
# Fields of `reasoning` that can be expressed elsewhere: a summary is given wherever the provider
# shows it.
_OF_REASONING: Final = frozenset({"effort", "summary", "generate_summary"})
_OURS: Final = frozenset({"p2l", "cost", "previous_response_id"})
# Fields without a meaning for a compaction, which is returned whole and not stored.
_NOT_COMPACTED: Final = frozenset({"include", "store", "stream", "stream_options"})
# Names for errors, which would otherwise show those of chat completions.
_NAMES: Final = {
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}


def parse_responses_request(
    body: Mapping[str, Any], history: Sequence[Item] = (), kept_as: str | None = None
) -> ChatRequest:
    """Parses a Responses body. history: items of earlier responses, which precede the input.
    kept_as: the id under which the answer is to be stored. Raises InvalidRequestError."""
    wanted = {n: v for n, v in body.items() if v is not None and v not in _NEUTRAL.get(n, ())}
    for name, why in REFUSED.items():
        if name in wanted:
            raise InvalidRequestError(f"{name}: {why}.", param=name)
    flag(wanted, "store")
    bridge = Bridge()
    bridge.tools.add(wanted.get("tools"), "tools")
    if isinstance(wanted.get("instructions"), str):
        bridge.messages.append({"role": "developer", "content": wanted["instructions"]})
    if history:
        bridge.add(list(history))
    items = wanted.get("input")
    if items is not None or not ("prompt" in wanted or history):
        bridge.add(items)
    chat = {name: wanted[name] for name in _SAME if name in wanted}
    chat |= _caps(wanted) | _text(wanted) | _reasoning(wanted, bridge) | _tools(wanted, bridge)
    chat |= _logprobs(wanted, bridge)
    if bridge.compacts and "tools" in chat:
        chat["tool_choice"] = "none"
    for name in wanted:
        if name not in _SAME | _OTHERWISE | _OURS:
            bridge.left_out[name] = None
    if "prompt" in wanted:
        # The prompt is stored at the provider, and its messages are unknown here.
        bridge.lacks("prompt outside the Responses API")
    chat["messages"] = bridge.messages or [{"role": "user", "content": ""}]
    with in_words_of(_NAMES):
        parsed = parse_chat_request(chat)
    native = {n: v for n, v in body.items() if n not in _OURS}
    if history:
        native["input"] = [*native_history(history), *_as_items(items)]
    return replace(
        parsed,
        surface=Surface.RESPONSES,
        native=native,
        native_only=bridge.gap,
        bridged_without=tuple(bridge.left_out),
        tools=bridge.tools,
        server_tools=_needs_hosted(bridge, wanted.get("tool_choice")),
        turn=Turn(kept_as, wanted.get("previous_response_id"), _as_items(items), bridge.compacts),
    )


def parse_compact_request(body: Mapping[str, Any], history: Sequence[Item] = ()) -> ChatRequest:
    """Parses a request to compact a conversation. history: see parse_responses_request.

    Raises InvalidRequestError.
    """
    wanted = {name: value for name, value in body.items() if name not in _NOT_COMPACTED}
    parsed = parse_responses_request(wanted, history)
    return replace(
        parsed,
        surface=Surface.COMPACT,
        native_only="compactions: it has no /v1/responses/compact",
        server_tools=False,
        turn=None,
    )


def _as_items(items: object) -> list[Any]:
    """The input as a list of items; it has been checked."""
    if isinstance(items, str):
        return [{"type": "message", "role": "user", "content": items}]
    return items if isinstance(items, list) else []


def _caps(wanted: Mapping[str, Any]) -> dict[str, Any]:
    cap = wanted.get("max_output_tokens")
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
        raise InvalidRequestError(
            "max_output_tokens must be a whole number of at least 1.", param="max_output_tokens"
        )
    return {} if cap is None else {"max_completion_tokens": cap}


def _text(wanted: Mapping[str, Any]) -> dict[str, Any]:
    text = _object(wanted, "text")
    out: dict[str, Any] = {}
    if text.get("verbosity") is not None:
        out["verbosity"] = text["verbosity"]
    form = text.get("format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {name: value for name, value in form.items() if name != "type"}
        out["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif isinstance(form, dict):
        out["response_format"] = form
    return out


def _reasoning(wanted: Mapping[str, Any], bridge: Bridge) -> dict[str, Any]:
    reasoning = _object(wanted, "reasoning")
    for name, value in reasoning.items():
        if value is not None and name not in _OF_REASONING:
            bridge.left_out[f"reasoning.{name}"] = None
    effort = reasoning.get("effort")
    return {} if effort is None else {"reasoning_effort": effort}


def _tools(wanted: Mapping[str, Any], bridge: Bridge) -> dict[str, Any]:
    """The tools of the request, including those that the input brings."""
    tools, choice = bridge.tools, wanted.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        tools.restrict(choice.get("tools"))
        choice = choice.get("mode")
    if _needs_hosted(bridge, choice):
        bridge.lacks(f"the tool {tools.hosted[0]}" if tools.hosted else "this tool_choice")
    for kind in tools.hosted:
        bridge.left_out[f"tools.{kind}"] = None
    functions = tools.functions
    if not functions:
        return {}
    if isinstance(choice, dict):
        name = tools.chosen(choice)
        choice = None if name is None else {"type": "function", "function": {"name": name}}
    return {"tools": functions} | ({} if choice is None else {"tool_choice": choice})


def _needs_hosted(bridge: Bridge, choice: object) -> bool:
    """Whether the request depends on tools that the provider runs: beside the caller's own tools
    they are optional."""
    tools = bridge.tools
    if isinstance(choice, dict) and choice.get("type") != "allowed_tools":
        return tools.chosen(choice) is None
    return bool(tools.hosted) and not tools.functions


def _logprobs(wanted: Mapping[str, Any], bridge: Bridge) -> dict[str, Any]:
    include = wanted.get("include") or []
    if not isinstance(include, list):
        raise InvalidRequestError("include must be a list.", param="include")
    for name in include:
        if not isinstance(name, str) or name not in _INCLUDED:
            # These fields come with tools that the provider runs.
            bridge.left_out["include"] = None
    out = {}
    if "message.output_text.logprobs" in include or wanted.get("top_logprobs"):
        out["logprobs"] = True
    if wanted.get("top_logprobs"):
        out["top_logprobs"] = wanted["top_logprobs"]
    return out


def _object(wanted: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = wanted.get(name)
    if value is not None and not isinstance(value, dict):
        raise InvalidRequestError(f"{name} must be an object.", param=name)
    return value or {}
