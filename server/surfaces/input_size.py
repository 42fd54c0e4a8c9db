"""Measures the input of a request before it is tokenised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

import orjson

from router.record import record
from server.wire.messages import are_texts

# Tokens of the template around each message (role markers) and around the whole prompt.
_TOKENS_PER_MESSAGE: Final = 16
# The tokens of an image, a sound or a file, which only its provider knows: an estimate and a bound.
_MEDIA_TOKENS: Final = 1000
_MEDIA_TOKENS_BOUND: Final = 50_000
# Reasoning that is encrypted and sealed: four characters for each token, grown by a third twice.
_CHARS_PER_KEPT_TOKEN: Final = 7
_NATIVE_MEDIA: Final = frozenset(
    {"container_upload", "document", "image", "input_audio", "input_file", "input_image"}
)
# Parts that are text under another name, and the fields of a message that are text besides its
# content.
_TEXT_PARTS: Final = frozenset({"redacted_thinking", "refusal", "thinking"})
_PLAIN_PART: Final = frozenset({"type", "text", "cache_control", "prompt_cache_breakpoint"})
_TEXT_KEYS: Final = ("tool_calls", "function_call", "name", "reasoning_content")
_COLLECTED: Final = frozenset({"role", "content", *_TEXT_KEYS})
# The fields of a text message, and the fields of a body that add nothing to the input. Tools and
# schemas are text too, but every provider writes them into the prompt in its own way.
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
    """The size of an input. text: the text whose tokens are input; further: tokens in addition to
    it; bound: at least the number of all input tokens; n_bytes: the UTF-8 bytes of the text;
    is_plain: the input consists of text messages only, so that a provider counts what we count."""

    text: str = field(repr=False)
    further: int
    bound: int
    n_bytes: int
    is_plain: bool = False


def count_chat(body: Mapping[str, Any], native: Mapping[str, Any] | None = None) -> Counted:
    """The input of a chat-completions body.

    native: the body of another surface that may be sent in its place, and may hold more. The bound
    is the number of UTF-8 bytes (no tokenizer makes more tokens than bytes) plus the template.
    """
    texts: list[str] = []
    media = kept = beside = 0
    messages = body["messages"]
    is_plain = native is None and body.keys() <= _WITHOUT_INPUT
    if are_texts(messages):
        texts = [message["content"] for message in messages]
    else:
        for message in messages:
            media += _collect(message, texts)
            if not message.keys() <= _PLAIN_MESSAGE:
                is_plain = False
                beside += _bytes_beside(message)
                kept += _kept_chars(message.get("reasoning_details"))
    for key in ("tools", "functions", "response_format"):
        if body.get(key) is not None:
            texts.append(orjson.dumps(body[key]).decode())
    text = "\n".join(texts)
    framing = _TOKENS_PER_MESSAGE * (len(messages) + 1)
    n_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if native is not None:
        n_bytes = max(n_bytes, len(orjson.dumps(native)))
        media = max(media, _native_media(native))
    bound = n_bytes + beside + framing + media * _MEDIA_TOKENS_BOUND
    further = media * _MEDIA_TOKENS + 4 * len(messages) + kept // _CHARS_PER_KEPT_TOKEN
    return Counted(text, further, bound, n_bytes, is_plain and media == 0)


def _bytes_beside(message: Mapping[str, Any]) -> int:
    """The bytes of everything in a message that is not collected as text: a provider may read any
    of it."""
    return sum(
        len(orjson.dumps(value))
        for name, value in message.items()
        if name not in _COLLECTED and value is not None
    )


def _native_media(native: Mapping[str, Any]) -> int:
    """The number of parts, at any depth, whose tokens only the provider knows."""
    found = 0
    waiting = [native.get("messages"), native.get("input")]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            kind = one.get("type")
            found += isinstance(kind, str) and kind in _NATIVE_MEDIA
            waiting += [one[name] for name in ("content", "output") if name in one]
        elif isinstance(one, list):
            waiting += one
    return found


def _kept_chars(details: object) -> int:
    """The characters of reasoning that the caller returns to a provider."""
    entries = details if isinstance(details, list) else []
    return sum(len(str(entry.get("data", ""))) for entry in entries if isinstance(entry, dict))


def _collect(message: Mapping[str, Any], texts: list[str]) -> int:
    """Adds a message's texts to the list; returns how many parts are media."""
    media = 0
    content = message.get("content")
    if isinstance(content, str):
        texts.append(content)
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
            if not part.keys() <= _PLAIN_PART:
                texts.append(orjson.dumps(part).decode())
        elif isinstance(part, dict) and part.get("type") in _TEXT_PARTS:
            texts.append(orjson.dumps(part).decode())
        else:
            media += 1
    if message.get("audio") is not None:
        media += 1  # of an earlier answer, which is kept at the provider
    for key in _TEXT_KEYS:
        if message.get(key) is not None:
            texts.append(orjson.dumps(message[key]).decode())
    return media
