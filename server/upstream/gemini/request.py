"""Converts a chat-completions body to the form of generateContent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.upstream.asked import wants_json_schema
from server.upstream.dialect import (
    InexpressibleError,
    check_fields,
    chosen_function,
    functions_of,
    output_cap,
    stop_sequences,
)
from server.upstream.gemini.contents import Own, system_and_contents
from server.upstream.history import called_names
from server.upstream.tool_schemas import rooted, unique, without_dialect

KNOWN: Final = frozenset(
    {
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
# Gemini's own fields: a caller who knows them may use them.
NATIVE: Final = frozenset({"cachedContent", "safetySettings"})
# Those of them whose effect no budget can bound: the size of the cached content is unknown here.
UNBOUNDED: Final = frozenset({"cachedContent"})
# Fields that are essential to a caller and that generateContent cannot express. Other unknown
# fields are preferences, and are left out.
INEXPRESSIBLE: Final[Mapping[str, str]] = {
    "audio": "it answers in text",
    "function_call": "use tool_choice",
    "functions": "use tools",
    "modalities": "it answers in text",
    "web_search_options": "its search is a tool of another kind",
}
_SAME: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
}
_MAX_STOPS: Final = 5
_MOST_SEED: Final = 2**31 - 1
_MAX_CANDIDATES: Final = 8
# The thinking budget in tokens for an effort, as in Google's own OpenAI endpoint.
_BUDGETS: Final[Mapping[str, int]] = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 24_576,
    "max": 24_576,
}
_LEVELS: Final[Mapping[str, str]] = {
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_BY_LEVEL: Final = re.compile(r"gemini-([3-9]|[1-9][0-9])")
_NEVER: Final = re.compile(r"gemini-(1|2\.0)|gemma")
_NOT_OFF: Final = re.compile(r"gemini-2\.5-pro")


def to_generate_content(body: Mapping[str, Any], model: str, *, own: Own = str) -> dict[str, Any]:
    """The generateContent body. own: see Own. Raises InexpressibleError."""
    wanted = check_fields(body, INEXPRESSIBLE)
    newer = _BY_LEVEL.search(model) is not None
    system, contents = system_and_contents(body["messages"], sign=newer, own=own)
    out: dict[str, Any] = {"contents": contents}
    if system:
        out["systemInstruction"] = {"parts": system}
    out |= _tools(wanted) or _tools_called(body["messages"])
    config = _config(wanted, model)
    if config:
        out["generationConfig"] = config
    return out | {name: wanted[name] for name in NATIVE if name in wanted}


def _config(wanted: Mapping[str, Any], model: str) -> dict[str, Any]:
    config = {theirs: wanted[ours] for ours, theirs in _SAME.items() if ours in wanted}
    if isinstance(config.get("seed"), int):
        # Larger ones are refused; the same seed always becomes the same number.
        config["seed"] &= _MOST_SEED
    if config.get("candidateCount", 1) > _MAX_CANDIDATES:
        raise InexpressibleError(f"n above {_MAX_CANDIDATES}")
    stops = stop_sequences(wanted)
    if len(stops) > _MAX_STOPS:
        raise InexpressibleError(f"more than {_MAX_STOPS} stop sequences")
    if stops:
        config["stopSequences"] = stops
    cap = output_cap(wanted)
    if cap is not None:
        config["maxOutputTokens"] = cap
    config |= _format(wanted)
    if "reasoning_effort" in wanted:
        config["thinkingConfig"] = thinking_config(str(wanted["reasoning_effort"]), model)
    return config


def _format(wanted: Mapping[str, Any]) -> dict[str, Any]:
    response_format = wanted.get("response_format")
    if response_format is None:
        return {}
    if not wants_json_schema(wanted):
        return {"responseMimeType": "application/json"}
    schema = (response_format.get("json_schema") or {}).get("schema")
    if not isinstance(schema, Mapping):
        raise InexpressibleError("a response_format without a schema")
    return {"responseMimeType": "application/json", "responseJsonSchema": schema}


def thinking_config(effort: str, model: str) -> dict[str, Any]:
    """thinkingConfig for an effort. Raises InexpressibleError."""
    if _NEVER.search(model):
        if effort == "none":
            return {"thinkingBudget": 0}
        raise InexpressibleError("reasoning_effort: the model does not think")
    if _BY_LEVEL.search(model):
        if effort not in _LEVELS:
            raise InexpressibleError(f"reasoning_effort {effort[:20]!r}")
        return {"thinkingLevel": _LEVELS[effort], "includeThoughts": True}
    if effort not in _BUDGETS or (effort == "none" and _NOT_OFF.search(model)):
        raise InexpressibleError(f"reasoning_effort {effort[:20]!r}")
    return {"thinkingBudget": _BUDGETS[effort], "includeThoughts": effort != "none"}


def _tools(wanted: Mapping[str, Any]) -> dict[str, Any]:
    functions = unique([function for _, function in functions_of(wanted.get("tools"))])
    declared = [_declaration(function) for function in functions]
    if not declared:
        return {}
    out: dict[str, Any] = {"tools": [{"functionDeclarations": declared}]}
    calling = _calling(wanted.get("tool_choice"))
    if calling:
        out["toolConfig"] = {"functionCallingConfig": calling}
    return out


def _tools_called(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The functions that a conversation has called. The API requires their declarations, although
    none may be called."""
    names = called_names(messages)
    if not names:
        return {}
    declared = [{"name": name} for name in names]
    config = {"functionCallingConfig": {"mode": "NONE"}}
    return {"tools": [{"functionDeclarations": declared}], "toolConfig": config}


def _declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        out["description"] = function["description"]
    if function.get("parameters"):
        out["parametersJsonSchema"] = without_dialect(rooted(function["parameters"]))
    return out


def _calling(choice: object) -> dict[str, Any]:
    match choice:
        case None | "auto":
            return {}
        case "none":
            return {"mode": "NONE"}
        case "required":
            return {"mode": "ANY"}
    return {"mode": "ANY", "allowedFunctionNames": [chosen_function(choice)]}
