"""Reads and trims the content of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.upstream.history.rules import Rules

_TEXTS: Final = frozenset({"text", "refusal"})
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})
_BETWEEN: Final = "\n\n"


def text_in(content: object) -> str:
    """The text in a content, without its other parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(text for part in content if (text := _text_of(part)))


def is_empty(content: object) -> bool:
    """Whether a content has neither text nor anything to show."""
    if isinstance(content, str):
        return not content.strip()
    if not isinstance(content, list):
        return True
    return all(part.get("type") in _TEXTS and not _text_of(part).strip() for part in content)


def joined(first: object, second: object) -> object:
    """Joins two contents."""
    if is_empty(first):
        return second
    if is_empty(second):
        return first
    if isinstance(first, str) and isinstance(second, str):
        return first + _BETWEEN + second
    return [*_parts(first), *_parts(second)]


def thoughts_and_rest(content: object) -> tuple[object, str]:
    """The assistant's content without parts that are thoughts, and the thoughts as text."""
    if not isinstance(content, list):
        return content, ""
    rest = [part for part in content if part.get("type") not in _THOUGHTS]
    if len(rest) == len(content):
        return content, ""
    thoughts = [text_in(_inside(part)) for part in content if part.get("type") in _THOUGHTS]
    plain = all(part.get("type") == "text" for part in rest)
    return ("".join(map(_text_of, rest)) if plain else rest), "".join(thoughts)


def trimmed_content(content: object, rules: Rules) -> object:
    """The content without empty texts, and without fields of parts that the provider refuses; the
    same object where there are none. If nothing is left, it is an empty text."""
    if not isinstance(content, list):
        return content
    if not rules.takes_refusals and any(part.get("type") == "refusal" for part in content):
        content = [_as_text(part) for part in content]
    if rules.plain_text and all(part.get("type") == "text" for part in content):
        return text_in(content)
    refused = rules.part_fields_refused
    parts = content
    if not refused.isdisjoint(name for part in content for name in part):
        parts = [{n: v for n, v in part.items() if n not in refused} for part in content]
    if any(part.get("type") == "text" and not part.get("text") for part in parts):
        parts = [part for part in parts if part.get("type") != "text" or part.get("text")]
    return parts or ""


def _parts(content: object) -> list[Any]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _text_of(part: Mapping[str, Any]) -> str:
    return str(part.get("text") or part.get("refusal") or "")


def _as_text(part: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "text", "text": _text_of(part)} if part.get("type") == "refusal" else part


def _inside(part: Mapping[str, Any]) -> object:
    return part.get("thinking") or part.get("text") or part.get("reasoning")
