"""A provider's own words in an error, whichever shape they have: its API's, that of the framework
it is written in, or that of a proxy before it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from server.wire.sse import SseParser

# Where words are found, the most telling place first.
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
# What stands in for the words of the provider behind OpenRouter, which are in its metadata.
_NO_WORDS: Final = "Provider returned error"
_OVERLOADED: Final = frozenset({"overloaded", "overloaded_error", "UNAVAILABLE", "529", "503"})


@dataclass(frozen=True, slots=True)
class Said:
    """What a provider said of a failure. It may quote the prompt: for the caller, not for logs.

    overloaded: that it has more to do than it can, which a caller may wait for.
    """

    words: str = field(repr=False)
    overloaded: bool = False


def said_of(error: Mapping[str, Any]) -> Said | None:
    """Of what `error_in` found; None where that is nothing."""
    words = error.get("message")
    if not isinstance(words, str):
        return None
    names = {str(error.get(place)) for place in ("type", "code", "status")}
    return Said(words, overloaded=not _OVERLOADED.isdisjoint(names))


def error_in(content: bytes) -> dict[str, Any]:
    """The inside of OpenAI's envelope: what the provider sent where it has one, made from its words
    where it says them another way; empty where there are none. content: what it answered."""
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
    """The JSON object of an answer that is no success: alone, in a list (Google's way) or in an
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
    """Whether it has the form of an API's error, and is not the page of a server at a wrong
    base_url."""
    return isinstance((answer_in(content) or {}).get("error"), dict)


def words_of(value: object, depth: int = 0) -> str:
    """The words in a value of JSON; empty where there are none."""
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
            # pydantic's way to say where in the request the fault is
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
    """Of an answer that is no JSON: the text, or the title of a page."""
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
        "type": kind if isinstance(kind, str) and kind else "invalid_request_error",
        "param": None,
        "code": code if isinstance(code, str | int) else None,
    }
