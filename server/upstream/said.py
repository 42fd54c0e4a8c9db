"""Extracts a provider's own message from an error, whichever form it has: that of its API, of its
web framework, or of a proxy before it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from server.wire.sse import SseParser

# The places of messages, the most informative first.
_PLACES: Final = (
    "error",
    "message",
    "Message",
    "msg",
    "detail",
    "details",
    "errors",
    "error_description",
    "description",
    "title",
    "reason",
)
_MOST_CHARACTERS: Final = 2_000
_MOST_WORDS: Final = 8
_DEEPEST: Final = 5
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_NOT_PRINTED: Final = re.compile(r"[\x00-\x1f\x7f]+")
# OpenRouter's placeholder for the provider's message, which is in the metadata.
_NO_WORDS: Final = "Provider returned error"
_OVERLOADED: Final = frozenset({"overloaded", "overloaded_error", "UNAVAILABLE", "529", "503"})


@dataclass(frozen=True, slots=True)
class Said:
    """A provider's message about a failure. It may quote the prompt: for the caller, not for logs.

    overloaded: the provider reports that it is overloaded, so that a caller may wait.
    """

    words: str = field(repr=False)
    overloaded: bool = False


def said_of(error: Mapping[str, Any]) -> Said | None:
    """The message in the result of `error_in`; None where there is none."""
    words = error.get("message")
    if not isinstance(words, str):
        return None
    names = {str(error.get(place)) for place in ("type", "code", "status")}
    return Said(words, overloaded=not _OVERLOADED.isdisjoint(names))


def error_in(content: bytes) -> dict[str, Any]:
    """The object inside OpenAI's envelope: the provider's own where it has one, otherwise made from
    its message; empty where there is none. content: the body of the answer."""
    answer = answer_in(content)
    if answer is None:
        words = _plain_words(content)
        return {} if words is None else _error(words)
    inside = answer.get("error")
    holder = inside if isinstance(inside, Mapping) else answer
    message = holder.get("message")
    if holder is inside and isinstance(message, str) and message:
        return {**inside, "message": _with_cause(message, inside)}
    words = words_of(holder) or words_of(answer)
    if not words:
        return {}
    if holder is inside:
        return {**inside, "message": words}
    return _error(words, kind=answer.get("type"), code=answer.get("code"))


def answer_in(content: bytes) -> dict[str, Any] | None:
    """The JSON object of an unsuccessful answer: alone, in a list (as Google sends it) or in an
    event of a stream. None where there is none."""
    if content.startswith((b"data:", b"event:")):
        parser = SseParser()
        events = [*parser.feed(content), *parser.flush()]
        content = events[0].data if events else b""
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if isinstance(parsed, list):
        found = [item for item in parsed if isinstance(item, dict) and words_of(item)]
        return found[0] if found else None
    return parsed if isinstance(parsed, dict) else None


def is_from_an_api(content: bytes) -> bool:
    """Whether the content has the form of an API's error, and is not the page of a server at a
    wrong base_url."""
    return isinstance((answer_in(content) or {}).get("error"), dict)


def words_of(value: object, depth: int = 0) -> str:
    """The text in a JSON value; empty where there is none."""
    if isinstance(value, str):
        return _NOT_PRINTED.sub(" ", value).strip()[:_MOST_CHARACTERS]
    if depth >= _DEEPEST:
        return ""
    if isinstance(value, list):
        words = filter(None, (words_of(item, depth + 1) for item in value[:_MOST_WORDS]))
        return "; ".join(words)[:_MOST_CHARACTERS]
    if isinstance(value, Mapping):
        return next(_words_in(value, depth), "")
    return ""


def _words_in(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    for place in _PLACES:
        words = words_of(value.get(place), depth + 1)
        if words:
            # pydantic names the faulty part of the request here.
            where = value.get("loc")
            path = ".".join(map(str, where)) if isinstance(where, list) else ""
            yield f"{path}: {words}" if path else words


def _with_cause(message: str, error: Mapping[str, Any]) -> str:
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    if message != _NO_WORDS or not isinstance(raw, str):
        return message
    cause = error_in(raw.encode("utf-8", "replace")).get("message")
    return f"{message}: {cause}" if cause else message


def _plain_words(content: bytes) -> str | None:
    """The message in an answer that is not JSON: the text, or the title of a page."""
    text = content[: 4 * _MOST_CHARACTERS].decode("utf-8", "replace").strip()
    if text in ("null", "[]"):
        return None
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = "" if title is None else title[1]
    return words_of(text) or None


def _error(words: str, kind: object = None, code: object = None) -> dict[str, Any]:
    return {
        "message": words,
        "type": kind if isinstance(kind, str) and kind else None,
        "param": None,
        "code": code if isinstance(code, str | int) else None,
    }
