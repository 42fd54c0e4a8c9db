"""Detects whether a request is part of a tool loop: then it brings the results of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from p2l_model.words import persons_words

_RESULTS: Final = frozenset({"tool", "function"})


class Results(NamedTuple):
    """The messages after the last answer. calls: the ids of the calls whose results they bring, the
    latest first. has_words: whether they also hold a person's text."""

    calls: tuple[str, ...]
    has_words: bool


def results_at_end(messages: Sequence[Mapping[str, Any]]) -> Results | None:
    """The results at the end; None where no result of a call follows the last answer. messages: in
    the form of chat completions. Reminders that clients send after results do not count as text."""
    if _RESULTS.isdisjoint([message["role"] for message in messages]):
        return None
    calls = []
    said = []
    has_result = False
    for message in reversed(messages):
        role = message["role"]
        if role in _RESULTS:
            has_result = True
            if isinstance(call := message.get("tool_call_id"), str) and call:
                calls.append(call)
        elif role == "assistant":
            break
        elif role == "user":
            said.append(message.get("content"))
    return Results(tuple(calls), any(map(_has_words, said))) if has_result else None


def has_answer(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a model has already answered."""
    return "assistant" in [message["role"] for message in messages]


def before_answer(messages: Sequence[Mapping[str, Any]]) -> int:
    """The number of messages before the last answer; 0 where there is none. Some clients write one
    answer as several messages."""
    end = len(messages)
    while end > 0 and messages[end - 1]["role"] != "assistant":
        end -= 1
    while end > 0 and messages[end - 1]["role"] == "assistant":
        end -= 1
    return end


def _has_words(content: object) -> bool:
    if isinstance(content, str):
        texts = [content]
    else:
        parts = content if isinstance(content, list) else []
        texts = [t for p in parts if isinstance(p, dict) and isinstance(t := p.get("text"), str)]
    return bool(texts) and not _is_blank(persons_words(texts))


def _is_blank(text: str) -> bool:
    return not text or text.isspace()
