"""OpenAPI descriptions of the bodies that endpoints read themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.model_facts import EFFORTS
from server.wire.surface import Surface

Schema = dict[str, Any]
_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 2**31}
_FLAG: Final[Schema] = {"type": "boolean"}
_MODEL: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "description": "p2l, auto, claude-p2l or p2l:PROFILE is routed; any other name or alias is "
    "asked directly.",
}
_USD: Final[Schema] = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}],
    "description": "USD for this request.",
}
_ROUTING: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "description": "Routing options, as the X-Cost-Budget, X-Session and X-Route headers give "
    "them.",
    "properties": {
        "budget_usd": _USD,
        "budget_mode": {"enum": ["expected", "hard"]},
        "models": {"type": "array", "items": _TEXT, "minItems": 1},
        "exclude": {"type": "array", "items": _TEXT, "minItems": 1},
        "effort": {
            "enum": list(EFFORTS),
            "description": "How hard the model thinks, in place of what the body says.",
        },
        "private": _FLAG,
        "seed": {"anyOf": [{"type": "integer"}, _TEXT]},
        "strict_params": _FLAG,
        "tags": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 64},
            "maxItems": 8,
            "description": "Labels by which spend can be grouped.",
        },
        "explain": _FLAG,
        "session": {"type": "string", "minLength": 1, "maxLength": 128},
        "session_budget_usd": _USD | {"description": "USD for all requests of the session."},
        "shadow": _FLAG | {"description": "False: no second model answers too, to be graded."},
    },
}
_PARTS: Final[Schema] = {
    "anyOf": [
        _TEXT,
        {
            "type": "array",
            "items": {"type": "object", "properties": {"type": _TEXT}, "required": ["type"]},
        },
    ]
}
_INPUTS: Final[Schema] = {
    "anyOf": [
        _TEXT,
        {"type": "array", "items": _TEXT, "minItems": 1},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}, "minItems": 1},
    ]
}


def _messages(roles: list[str]) -> Schema:
    message = {
        "type": "object",
        "properties": {"role": {"enum": roles}, "content": _PARTS},
        "required": ["role", "content"],
    }
    return {"type": "array", "items": message, "minItems": 1}


_CHAT: Final[Schema] = {
    "messages": _messages(["system", "developer", "user", "assistant", "tool"]),
    "max_completion_tokens": _COUNT,
    "max_tokens": _COUNT,
    "n": {"type": "integer", "minimum": 1, "maximum": 128},
    "stream": _FLAG,
    "temperature": {"type": "number"},
    "tools": {"type": "array", "items": {"type": "object"}},
    "response_format": {"type": "object"},
    "reasoning_effort": _TEXT,
    "cost": _USD,
}
_FIELDS: Final[Mapping[Surface, tuple[Schema, list[str]]]] = {
    Surface.CHAT: (_CHAT, ["model", "messages"]),
    Surface.RESPONSES: (
        {
            "input": _PARTS,
            "instructions": _TEXT,
            "max_output_tokens": _COUNT,
            "stream": _FLAG,
            "tools": {"type": "array", "items": {"type": "object"}},
            "text": {"type": "object"},
            "reasoning": {"type": "object"},
            "store": _FLAG,
            "previous_response_id": _TEXT,
        },
        ["model", "input"],
    ),
    Surface.COMPACT: (
        {"input": _PARTS, "instructions": _TEXT, "previous_response_id": _TEXT},
        ["model", "input"],
    ),
    Surface.MESSAGES: (
        {
            "messages": _messages(["user", "assistant", "system"]),
            "max_tokens": _COUNT,
            "system": _PARTS,
            "stream": _FLAG,
            "tools": {"type": "array", "items": {"type": "object"}},
        },
        ["model", "messages", "max_tokens"],
    ),
    Surface.COMPLETIONS: (
        {"prompt": _INPUTS, "max_tokens": _COUNT, "stream": _FLAG},
        ["model", "prompt"],
    ),
    Surface.EMBEDDINGS: ({"input": _INPUTS}, ["model", "input"]),
}
_ERROR: Final[Schema] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"message": _TEXT, "type": _TEXT, "param": {}, "code": {}},
            "required": ["message", "type"],
        }
    },
    "required": ["error"],
}
_STATUSES: Final = {
    400: "The request, its budget or its routing options cannot be served.",
    401: "The key is missing or unknown.",
    404: "There is no such model or object.",
    413: "The body is too large.",
    429: "A rate limit or a budget is used up. See Retry-After.",
    502: "All attempts failed.",
    503: "Too many requests are in progress. See Retry-After.",
    504: "No provider answered in time.",
}
_BUDGETS: Final = [
    ("X-Cost-Budget", "USD for this request: a finite decimal of at least 0."),
    ("X-Cost-Budget-Mode", "How the budget holds: expected (the default) or hard."),
    ("X-Route-Models", "The models to choose among, separated by commas."),
    ("X-Route-Exclude", "Models that may not answer, separated by commas."),
    ("X-Route-Effort", f"How hard the model thinks: {', '.join(EFFORTS)}."),
    ("X-Route-Private", "true: only providers that are marked as private may answer."),
    ("X-Route-Seed", "An integer that makes the draw repeatable."),
    ("X-Session-Id", "The name of the job that the request belongs to: 1 to 128 characters."),
    ("X-Session-Budget", "USD for all requests of the job: a finite decimal of at least 0."),
]


def body_of(surface: Surface) -> dict[str, Any]:
    """Keyword arguments for a route whose body is one of this surface."""
    fields, required = _FIELDS[surface]
    properties = {"model": _MODEL, **fields, "p2l": _ROUTING}
    return described(properties, required, routed=True)


def described(properties: Schema, required: list[str], *, routed: bool = False) -> dict[str, Any]:
    """Keyword arguments for a route whose JSON body has these properties; others are accepted
    too."""
    schema = {"type": "object", "properties": properties, "required": required}
    extra: dict[str, Any] = {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
    }
    if routed:
        extra["parameters"] = [_header(name, told) for name, told in _BUDGETS]
    return {"openapi_extra": extra, "responses": error_responses()}


def error_responses() -> dict[int | str, dict[str, Any]]:
    """The error responses that any endpoint may return."""
    content = {"application/json": {"schema": _ERROR}}
    return {status: {"description": told, "content": content} for status, told in _STATUSES.items()}


def _header(name: str, told: str) -> Schema:
    return {"name": name, "in": "header", "required": False, "schema": _TEXT, "description": told}


# Accepts either of the two.
LEADERBOARD: Final[dict[str, Any]] = described(
    {"prompt": _TEXT, "messages": _CHAT["messages"], "p2l": _ROUTING}, []
)
