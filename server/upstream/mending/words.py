"""Converts the parts of an answer besides its calls: text, thoughts and finish reason."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

# OpenAI's finish reasons, by a provider's word in lower case.
_FINISHES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("stop", "end_turn", "eos", "eos_token", "stop_sequence", "complete", "completed", "done"),
        "stop",
    ),
    **dict.fromkeys(
        ("length", "max_tokens", "max_length", "max_output_tokens", "model_length"), "length"
    ),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "tool_calls"),
    **dict.fromkeys(("content_filter", "safety", "refusal", "sensitive"), "content_filter"),
}
# An answer with such a finish reason has failed, however much of it has arrived.
FAILED: Final = frozenset(
    {
        "abort",
        "aborted",
        "cancelled",
        "error",
        "insufficient_system_resource",
        "malformed_function_call",
        "network_error",
    }
)
# Finish reasons that need no repair where no call came before.
PLAIN_FINISHES: Final = frozenset({"stop", "length", "content_filter"})
# The types of a delta's text and thoughts that need no repair.
PLAIN_TEXTS: Final = frozenset({str, type(None)})
_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking")
_MOST_DEEP: Final = 4


def new_completion_id() -> str:
    """An id in OpenAI's form, for an answer whose provider gave it none."""
    return f"chatcmpl-{uuid.uuid4().hex}"


def finish_word(reason: object) -> str | None:
    """The provider's finish reason in lower case; None where the answer has not ended."""
    if isinstance(reason, Mapping):
        # SGLang's own form.
        reason = reason.get("type")
    return reason.lower() if isinstance(reason, str) and reason else None


def is_plain_finish(reason: object) -> bool:
    """Whether a finish reason needs no repair, where no tool is called."""
    return isinstance(reason, str) and reason in PLAIN_FINISHES


def finish_reason(word: str, *, called: bool, by_function: bool = False) -> str:
    """OpenAI's finish reason. The content decides: some servers end a turn of calls with "stop", or
    report "tool_calls" without a call. called: whether it calls a tool; by_function: whether it
    calls a function in the older form."""
    found = _FINISHES.get(word)
    if by_function:
        return "function_call" if found in ("stop", "tool_calls", None) else found
    if called:
        return found if found in ("length", "content_filter") else "tool_calls"
    if found is None:
        return word
    return "stop" if found == "tool_calls" else found


def text_in(value: object, depth: int = 0) -> str:
    """The text in a text, in a part or in a list of them."""
    if isinstance(value, str):
        return value
    if depth >= _MOST_DEEP:
        return ""
    if isinstance(value, list):
        return "".join(text_in(item, depth + 1) for item in value)
    if isinstance(value, Mapping):
        for name in ("text", "thinking", "summary", "content"):
            if value.get(name):
                return text_in(value[name], depth + 1)
    return ""


def in_one_form(said: Mapping[str, Any]) -> dict[str, Any]:
    """A message or delta with content and thoughts as text, under the field names that clients
    know. Mistral sends both as parts of the content."""
    out = dict(said)
    thoughts = _thoughts(out)
    content = said.get("content")
    if isinstance(content, Mapping):
        content = [content]
    if isinstance(content, list):
        texts = []
        for part in content:
            if _is_thought(part):
                thoughts += text_in(part)
            else:
                texts.append(text_in(part))
        out["content"] = "".join(texts)
    if thoughts and not (said.get("reasoning_content") == thoughts or _is_named(said, thoughts)):
        out["reasoning_content"] = thoughts
    return out


def is_plain(said: Mapping[str, Any]) -> bool:
    """Whether `in_one_form` would change nothing."""
    return (
        type(said.get("content")) in PLAIN_TEXTS
        and "thinking" not in said
        and type(said.get("reasoning")) in PLAIN_TEXTS
        and type(said.get("reasoning_content")) in PLAIN_TEXTS
    )


def _is_named(said: Mapping[str, Any], thoughts: str) -> bool:
    return not said.get("reasoning_content") and said.get("reasoning") == thoughts


def _is_thought(part: object) -> bool:
    return isinstance(part, Mapping) and str(part.get("type")) in ("thinking", "reasoning")


def _thoughts(out: dict[str, Any]) -> str:
    """The thoughts in the first field that has any; values that are not text are removed."""
    found = ""
    for name in _THOUGHTS:
        value = out.get(name)
        found = found or text_in(value)
        if name == "thinking" or type(value) not in PLAIN_TEXTS:
            out.pop(name, None)
    return found
