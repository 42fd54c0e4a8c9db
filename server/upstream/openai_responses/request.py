"""Converts a chat-completions body to the form of OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from server.model_facts import ModelFacts
from server.upstream.asked import asked
from server.upstream.dialect import InexpressibleError, chosen_function, output_cap
from server.upstream.openai_responses.items import Open, input_items
from server.upstream.openai_responses.need import reasons, takes

# Fields with the same name in both.
SAME: Final = frozenset(
    {
        "metadata",
        "moderation",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "user",
    }
)
# Fields that are expressed in another way, or set by us.
OTHERWISE: Final = frozenset(
    {
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "parallel_tool_calls",
        "response_format",
        "stream",
        "stream_options",
        "tool_choice",
        "tools",
        "verbosity",
    }
)
# Fields that are essential to a caller and that the API cannot express.
INEXPRESSIBLE: Final[Mapping[str, str]] = {
    "audio": "it answers in text",
    "function_call": "use tool_choice",
    "functions": "use tools",
    "modalities": "it answers in text",
    "n": "it gives one answer",
    "stop": "it takes no stop sequences",
    "web_search_options": "its search is a tool of another kind",
}
_SAMPLING: Final = ("temperature", "top_p")
_LOGPROBS: Final = frozenset({"logprobs", "top_logprobs"})
# The API refuses a lower output cap.
LEAST_OUTPUT_TOKENS: Final = 16
_EMPTY_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


def to_responses(
    body: Mapping[str, Any],
    model: str,
    facts: ModelFacts,
    opened: Open,
    *,
    summaries: bool,
    encrypted: bool,
) -> dict[str, Any]:
    """The Responses body. facts: about the model. opened: see Open. summaries, encrypted: whether
    the reasoning is requested as a summary, and encrypted. Raises InexpressibleError."""
    wanted = asked(body)
    _check(wanted, facts)
    out: dict[str, Any] = {"model": model, "input": input_items(body["messages"], opened)}
    out |= {name: wanted[name] for name in SAME if name in wanted}
    cap = output_cap(body)
    if cap is not None:
        out["max_output_tokens"] = max(cap, LEAST_OUTPUT_TOKENS)
    out |= _tools(wanted) | _text(wanted) | _stream(wanted)
    include = ["reasoning.encrypted_content"] if encrypted and reasons(facts) else []
    if reasons(facts):
        out |= _reasoning(wanted, summaries=summaries)
    out |= {n: wanted[n] for n in _SAMPLING if n in wanted and takes(n, facts, body)}
    if wanted.get("logprobs"):
        include.append("message.output_text.logprobs")
        out |= {name: wanted[name] for name in ("top_logprobs",) if name in wanted}
    return out | ({"include": include} if include else {}) | {"store": False}


def left_out(body: Mapping[str, Any], facts: ModelFacts) -> tuple[str, ...]:
    """The fields that are not sent, for x-p2l-left-out-fields."""
    names = set(_left_out(asked(body), facts))
    if any(message.get("name") and message["role"] != "tool" for message in body["messages"]):
        names.add("messages.name")
    return tuple(sorted(names))


def _left_out(wanted: Mapping[str, Any], facts: ModelFacts) -> Iterator[str]:
    sent = SAME | OTHERWISE | ({"reasoning_effort"} if reasons(facts) else frozenset())
    sent |= {name for name in _SAMPLING if name in wanted and takes(name, facts, wanted)}
    sent |= _LOGPROBS if wanted.get("logprobs") else frozenset()
    for name, value in wanted.items():
        # The default value of a reasoning model asks for nothing.
        if name not in sent and not (name in _SAMPLING and value == 1):
            yield name


def _check(wanted: Mapping[str, Any], facts: ModelFacts) -> None:
    for name in wanted:
        if name in INEXPRESSIBLE:
            raise InexpressibleError(f"{name}: {INEXPRESSIBLE[name]}")
    if wanted.get("logprobs") and not takes("logprobs", facts, wanted):
        raise InexpressibleError("logprobs: the model reports none while it reasons")


def _reasoning(wanted: Mapping[str, Any], *, summaries: bool) -> dict[str, Any]:
    effort = wanted.get("reasoning_effort")
    reasoning = {} if effort is None else {"effort": effort}
    if summaries and effort != "none":
        # Callers can see the summaries; and a stream that shows them is not silent for minutes.
        reasoning["summary"] = "auto"
    return {"reasoning": reasoning} if reasoning else {}


def _tools(wanted: Mapping[str, Any]) -> dict[str, Any]:
    tools = [_tool(tool) for tool in wanted.get("tools") or ()]
    if not tools:
        return {}
    out: dict[str, Any] = {"tools": tools}
    if wanted.get("tool_choice") is not None:
        out["tool_choice"] = _choice(wanted["tool_choice"])
    if wanted.get("parallel_tool_calls") is not None:
        out["parallel_tool_calls"] = wanted["parallel_tool_calls"]
    return out


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function, custom = tool.get("function"), tool.get("custom")
    if tool.get("type") == "custom" and isinstance(custom, Mapping):
        return _custom_tool(custom)
    if tool.get("type") != "function" or not isinstance(function, Mapping):
        raise InexpressibleError("tools that are neither functions nor custom tools")
    out: dict[str, Any] = {"type": "function", "name": function["name"]}
    if function.get("description") is not None:
        out["description"] = function["description"]
    # Left out, it would mean true here, and false on Chat Completions.
    strict = function.get("strict") is True
    return out | {"parameters": function.get("parameters") or _EMPTY_SCHEMA, "strict": strict}


def _custom_tool(custom: Mapping[str, Any]) -> dict[str, Any]:
    out = {name: custom[name] for name in ("name", "description") if custom.get(name) is not None}
    form = custom.get("format")
    if isinstance(form, Mapping):
        grammar = form.get("grammar")
        inner = dict(grammar) if isinstance(grammar, Mapping) else {}
        out["format"] = {"type": form.get("type"), **inner}
    return {"type": "custom", **out}


def _choice(choice: object) -> object:
    if not isinstance(choice, Mapping):
        return choice
    kind = choice.get("type")
    if kind == "allowed_tools" and isinstance(choice.get("allowed_tools"), Mapping):
        allowed = choice["allowed_tools"]
        tools = [_named(tool) for tool in allowed.get("tools") or ()]
        return {"type": "allowed_tools", "mode": allowed.get("mode", "auto"), "tools": tools}
    return _named(choice)


def _named(choice: object) -> dict[str, Any]:
    custom = choice.get("custom") if isinstance(choice, Mapping) else None
    if isinstance(custom, Mapping):
        return {"type": "custom", "name": custom.get("name")}
    return {"type": "function", "name": chosen_function(choice)}


def _text(wanted: Mapping[str, Any]) -> dict[str, Any]:
    text: dict[str, Any] = {}
    if wanted.get("verbosity") is not None:
        text["verbosity"] = wanted["verbosity"]
    form = wanted.get("response_format")
    if form is not None and form["type"] == "json_schema":
        given = form.get("json_schema") or {}
        named = {"name": given.get("name") or "answer", "strict": given.get("strict") is True}
        described = {n: given[n] for n in ("description",) if given.get(n) is not None}
        schema = {"schema": given.get("schema") or {}}
        text["format"] = {"type": "json_schema", **named, **described, **schema}
    elif form is not None:
        text["format"] = {"type": form["type"]}
    return {"text": text} if text else {}


def _stream(wanted: Mapping[str, Any]) -> dict[str, Any]:
    options = wanted.get("stream_options")
    hidden = options.get("include_obfuscation") if isinstance(options, Mapping) else None
    return {} if hidden is None else {"stream_options": {"include_obfuscation": hidden}}
