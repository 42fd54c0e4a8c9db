"""A body of the Responses API: checked, and put into the words of chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from server.chat_request import ChatRequest, flag, in_words_of, parse_chat_request
from server.errors import InvalidRequestError
from server.responses.items import Bridge
from server.responses.turn import Item, Turn, native_history
from server.upstream.base import Surface
from server.upstream.tools import provider_runs_some, runs_in_responses

# Said by chat completions under the same name.
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
# Said under another name, or by messages.
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
# Not served here, whoever the provider is: it would mean keeping something at the provider's.
REFUSED: Final[Mapping[str, str]] = {
    "background": "responses are not made in the background; leave it out",
    "background_options": "responses are not made in the background; leave it out",
    "conversation": "conversations are not kept; send the items as input",
}
# Fields whose values here mean the same as leaving them out.
_NEUTRAL: Final[Mapping[str, tuple[object, ...]]] = {
    "background": (False,),
    "truncation": ("disabled",),
    "context_management": ([],),
}
_INCLUDED: Final = frozenset({"reasoning.encrypted_content", "message.output_text.logprobs"})
_OURS: Final = frozenset({"p2l", "cost", "previous_response_id"})
# What errors would else call by the name of chat completions.
_NAMES: Final = {
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}


def parse_responses_request(
    body: Mapping[str, Any], history: Sequence[Item] = (), kept_as: str | None = None
) -> ChatRequest:
    """history: items of earlier responses, before the input. kept_as: the id under which the
    answer is to be kept. Raises InvalidRequestError."""
    wanted = {n: v for n, v in body.items() if v is not None and v not in _NEUTRAL.get(n, ())}
    for name, why in REFUSED.items():
        if name in wanted:
            raise InvalidRequestError(f"{name}: {why}.", param=name)
    flag(wanted, "store")
    bridge = Bridge()
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
    for name in wanted:
        if name not in _SAME | _OTHERWISE | _OURS:
            bridge.lacks(f"{name} outside the Responses API")
    # a prompt that is kept at the provider has messages that nobody sees here
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
        server_tools=provider_runs_some(wanted.get("tools"), runs_in_responses),
        turn=Turn(kept_as, wanted.get("previous_response_id"), _as_items(items)),
    )


def _as_items(items: object) -> list[Any]:
    """Input that has been checked."""
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
        # a summary is given wherever the provider shows its reasoning
        if value is not None and name not in ("effort", "summary", "generate_summary"):
            bridge.lacks(f"reasoning.{name}")
    effort = reasoning.get("effort")
    return {} if effort is None else {"reasoning_effort": effort}


def _tools(wanted: Mapping[str, Any], bridge: Bridge) -> dict[str, Any]:
    tools = wanted.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise InvalidRequestError("tools must be a list.", param="tools")
    functions = []
    for index, tool in enumerate(tools or ()):
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            place = f"tools[{index}]"
            raise InvalidRequestError(f"{place} must be an object with a type.", param=place)
        if tool["type"] != "function":
            bridge.lacks(f"the tool {tool['type'][:40]}")
            continue
        names = ("name", "description", "parameters", "strict")
        function = {name: tool[name] for name in names if tool.get(name) is not None}
        functions.append({"type": "function", "function": function})
    out: dict[str, Any] = {"tools": functions} if functions else {}
    choice = wanted.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    elif isinstance(choice, dict):
        bridge.lacks("this tool_choice")
        return out
    return out if choice is None or not functions else out | {"tool_choice": choice}


def _logprobs(wanted: Mapping[str, Any], bridge: Bridge) -> dict[str, Any]:
    include = wanted.get("include") or []
    if not isinstance(include, list):
        raise InvalidRequestError("include must be a list.", param="include")
    for name in include:
        if not isinstance(name, str) or name not in _INCLUDED:
            bridge.lacks(f"include {str(name)[:60]}")
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
