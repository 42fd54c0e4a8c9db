"""Moves images out of the results of tools, for providers whose tool messages can hold only
text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Message = Mapping[str, Any]
_TEXTS: Final = frozenset({"text", "refusal"})
_SHOWN: Final = "What the tools have shown:"
_BELOW: Final = "(shown below)"


def shows_something(message: Message) -> bool:
    """Whether a message is a tool's result with more than text."""
    content = message.get("content")
    if message.get("role") != "tool" or not isinstance(content, list):
        return False
    return any(part["type"] not in _TEXTS for part in content)


def with_images_after(messages: Sequence[Message]) -> list[Message]:
    """The messages with text-only results; the images follow in a user message, after all results
    of a turn. Equal prefixes stay equal, so that a provider's cache holds."""
    return list(_moved(messages))


def _moved(messages: Sequence[Message]) -> Iterator[Message]:
    shown: list[Any] = []
    for message in messages:
        if shown and message.get("role") != "tool":
            yield _user(shown)
            shown = []
        if shows_something(message):
            shown += [part for part in message["content"] if part["type"] not in _TEXTS]
            yield _text_alone(message)
        else:
            yield message
    if shown:
        yield _user(shown)


def _user(shown: Sequence[Any]) -> Message:
    return {"role": "user", "content": [{"type": "text", "text": _SHOWN}, *shown]}


def _text_alone(message: Message) -> Message:
    texts = [part for part in message["content"] if part["type"] in _TEXTS]
    return {**message, "content": texts or _BELOW}
