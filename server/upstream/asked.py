"""Finds what a chat-completions body really asks for: fields at their defaults ask for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# Values with the same meaning as leaving the field out, by OpenAI's reference.
_NEUTRAL: Final[Mapping[str, tuple[object, ...]]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "stop": ([],),
    "store": (False,),
    "stream": (False,),
    "stream_options": ({},),
    "temperature": (),
    "tools": ([],),
    "top_logprobs": (0,),
    "top_p": (),
    "verbosity": ("medium",),
}

# OpenAI's fields that change how a request is filed, found again or cached, but not its answer.
ADVISORY: Final = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "user",
    }
)


def is_neutral(name: str, value: object) -> bool:
    """Whether a field's value has the same meaning as leaving the field out."""
    return value is None or value in _NEUTRAL.get(name, ())


def asked(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that ask for something."""
    return {
        name: value
        for name, value in body.items()
        if value is not None and value not in _NEUTRAL.get(name, ())
    }


def content_parts(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of all messages whose content is a list."""
    contents = (message.get("content") for message in body["messages"])
    return [part for content in contents if isinstance(content, list) for part in content]


def wants_json_schema(body: Mapping[str, Any]) -> bool:
    """Whether the answer must fit a schema."""
    wanted = body.get("response_format")
    return isinstance(wanted, Mapping) and wanted.get("type") == "json_schema"
