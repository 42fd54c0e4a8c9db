"""Whether a request stands in the middle of a tool loop: it brings the results of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from p2l_model.words import persons_words

_RESULTS: Final = ("tool", "function")


class Results(NamedTuple):
    """What came after the last answer. calls: the ids of the calls whose results are brought, the
    latest first. has_words: a person says something beside them."""

    calls: tuple[str, ...]
    has_words: bool


def results_at_end(messages: Sequence[Mapping[str, Any]]) -> Results | None:
    """messages: in the form of chat completions. None where no result of a call follows the last
    answer. Clients send reminders after results: those are no words of a person."""
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
    """Whether some model has answered already."""
    return any(message["role"] == "assistant" for message in messages)


def _has_words(content: object) -> bool:
    if isinstance(content, str):
        texts = [content]
    else:
        parts = content if isinstance(content, list) else []
        texts = [t for p in parts if isinstance(p, dict) and isinstance(t := p.get("text"), str)]
    return bool(texts) and not _is_blank(persons_words(texts))


def _is_blank(text: str) -> bool:
    return not text or text.isspace()
