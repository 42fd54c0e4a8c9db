"""The error for a conversation that is too long for its model, in the words by which clients
recognise it: they shorten the conversation and go on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

# Providers' messages, with the number of tokens (n) and the limit (most).
_SAID: Final = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"too long:?\s*(?P<n>\d+) tokens? > (?P<most>\d+)",
        r"maximum context length (?:is|of) (?P<most>\d+).{0,80}?"
        r"(?:requested|resulted in|contains?|has|have|got)\D{0,40}(?P<n>\d+)",
        r"input token count \(?(?P<n>\d+)\)? exceeds.{0,60}?(?P<most>\d+)",
        r"(?P<n>\d+) (?:input )?tokens.{0,60}?(?:exceeds?|over|larger|longer)\D{0,80}(?P<most>\d+)",
        r"maximum (?:context|prompt) length\D{0,40}(?P<most>\d+)\D{1,80}(?P<n>\d+)",
    )
)
_KNOWN_BY_OPENAIS: Final = re.compile(r"maximum context length", re.IGNORECASE)
_KNOWN_BY_ANTHROPICS: Final = re.compile(r"prompt is too long|exceed context limit", re.IGNORECASE)
CODE: Final = "context_length_exceeded"


def for_openais(needed: int, window: int) -> str:
    """The message of OpenAI's servers."""
    return (
        f"This model's maximum context length is {window} tokens. However, your messages resulted "
        f"in {needed} tokens. Please reduce the length of the messages."
    )


def for_anthropics(needed: int, window: int) -> str:
    """The message of Anthropic's servers."""
    return f"prompt is too long: {needed} tokens > {window} maximum"


def said_for_openais(error: Mapping[str, Any]) -> dict[str, Any]:
    """A provider's refusal, the object inside OpenAI's envelope, in OpenAI's words."""
    message = str(error.get("message") or "")
    if not _KNOWN_BY_OPENAIS.search(message):
        counts = _counts(message)
        ours = "This model's maximum context length is exceeded."
        ours = ours if counts is None else for_openais(*counts)
        message = f"{ours} ({message})" if message else ours
    return {**error, "message": message, "type": "invalid_request_error", "code": CODE}


def said_for_anthropics(error: Mapping[str, Any]) -> dict[str, Any]:
    """A provider's refusal in Anthropic's words."""
    message = str(error.get("message") or "")
    if not _KNOWN_BY_ANTHROPICS.search(message):
        counts = _counts(message)
        ours = "prompt is too long" if counts is None else for_anthropics(*counts)
        message = f"{ours} ({message})" if message else ours
    return {**error, "message": message, "type": "invalid_request_error", "code": CODE}


def _counts(message: str) -> tuple[int, int] | None:
    """The number of tokens and the limit, where a message states both."""
    for pattern in _SAID:
        found = pattern.search(message.replace(",", ""))
        if found is not None:
            n, most = int(found["n"]), int(found["most"])
            return (n, most) if n > most else None
    return None
