"""How much input a request is, before anybody has tokenised it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

import orjson

from router.record import record

# The template around each message (role markers) and around the whole prompt.
_TOKENS_PER_MESSAGE: Final = 16
# An image, sound or file whose token count only its provider knows: an estimate, and a bound.
_MEDIA_TOKENS: Final = 1000
_MEDIA_TOKENS_BOUND: Final = 50_000
# Reasoning that is encrypted and sealed: four characters of a token, grown twice by a third.
_CHARS_PER_KEPT_TOKEN: Final = 7
# What a message of text has, and the fields of a body that add nothing to the input. Tools and
# schemas are text too, but every provider writes them into the prompt in a way of its own.
_PLAIN_MESSAGE: Final = frozenset({"role", "content"})
_WITHOUT_INPUT: Final = frozenset(
    {
        "cost",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "p2l",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_logprobs",
        "top_p",
        "user",
    }
)


@record(frozen=True, slots=True)
class Counted:
    """text: whose tokens are input; further: tokens beside them; bound: never less than all input
    tokens together. is_plain: it is messages of text and nothing else, so that a provider counts
    what we count."""

    text: str = field(repr=False)
    further: int
    bound: int
    is_plain: bool = False


def count_chat(body: Mapping[str, Any], native: Mapping[str, Any] | None = None) -> Counted:
    """The input of a chat-completions body. native: the body of another surface that may be sent
    in its place, and hold more.

    The bound is the UTF-8 bytes (no tokenizer makes more tokens than bytes) plus the template.
    """
    texts: list[str] = []
    media = kept = 0
    is_plain = native is None and body.keys() <= _WITHOUT_INPUT
    for message in body["messages"]:
        media += _collect(message, texts)
        is_plain = is_plain and message.keys() <= _PLAIN_MESSAGE
        if "reasoning_details" in message:
            kept += _kept_chars(message["reasoning_details"])
    for key in ("tools", "functions", "response_format"):
        if body.get(key) is not None:
            texts.append(orjson.dumps(body[key]).decode())
    text = "\n".join(texts)
    framing = _TOKENS_PER_MESSAGE * (len(body["messages"]) + 1)
    n_bytes = len(text.encode("utf-8", "surrogatepass"))
    if native is not None:
        n_bytes = max(n_bytes, len(orjson.dumps(native)))
    bound = n_bytes + kept + framing + media * _MEDIA_TOKENS_BOUND
    further = media * _MEDIA_TOKENS + 4 * len(body["messages"]) + kept // _CHARS_PER_KEPT_TOKEN
    return Counted(text, further, bound, is_plain and media == 0)


def _kept_chars(details: object) -> int:
    """Of the reasoning that the caller keeps for a provider."""
    entries = details if isinstance(details, list) else []
    return sum(len(str(entry.get("data", ""))) for entry in entries if isinstance(entry, dict))


def _collect(message: Mapping[str, Any], texts: list[str]) -> int:
    """Adds a message's texts; returns how many parts are media."""
    media = 0
    content = message.get("content")
    if isinstance(content, str):
        texts.append(content)
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and part.get("type") == "refusal":
            texts.append(str(part.get("refusal", "")))
        else:
            media += 1
    for key in ("tool_calls", "function_call", "name", "reasoning_content"):
        if message.get(key) is not None:
            texts.append(orjson.dumps(message[key]).decode())
    return media
