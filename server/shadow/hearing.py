"""Keeps the text of an answer that passes through, for the requests that were chosen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from server.process.bugs import kind_and_place
from server.upstream.base import StreamMeter, UpstreamStream
from server.upstream.errors import UpstreamError
from server.wire.sse import SseEvent

_LOG: Final = logging.getLogger("p2l_router")
# A longer answer is not compared: a judge would read only part of it.
_MOST_CHARS: Final = 60_000
# Reasons to end after which an answer is whole, on the three surfaces.
_WHOLE: Final = frozenset({"stop", "end_turn", "stop_sequence", "completed"})


@contextmanager
def harmless() -> Iterator[None]:
    """Within this context, nothing that goes wrong reaches the caller's answer: a provider's answer
    may hold anything."""
    try:
        yield
    except Exception as error:
        _LOG.error("an answer could not be heard: %s", kind_and_place(error))


def text_of(body: Mapping[str, Any]) -> str | None:
    """The text of a whole answer on any surface; None where there is none, where it calls a tool,
    and where it was cut off."""
    texts: list[str] = []
    for said in _said(body):
        if said is None:
            return None
        texts.append(said)
    text = "".join(texts)
    return text if text.strip() != "" and len(text) <= _MOST_CHARS else None


def _said(body: Mapping[str, Any]) -> Iterator[str | None]:
    """The pieces of text; None for anything that is not the text of a whole answer."""
    choices = body.get("choices")
    if isinstance(choices, list):
        yield _of_choice(choices[0]) if len(choices) == 1 else None
        return
    if body.get("stop_reason", body.get("status")) not in _WHOLE:
        yield None
    for part in body.get("content") or body.get("output") or ():
        yield from _of_part(part) if isinstance(part, Mapping) else (None,)


def _of_choice(choice: object) -> str | None:
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        return None
    if choice.get("finish_reason") not in _WHOLE or message.get("tool_calls"):
        return None
    content = message.get("content")
    return content if isinstance(content, str) else None


def _of_part(part: Mapping[str, Any]) -> Iterator[str | None]:
    """The text of a block of a message or of an item of a response; thoughts are passed over."""
    kind = part.get("type")
    if kind in ("text", "output_text"):
        text = part.get("text")
        yield text if isinstance(text, str) else None
    elif kind == "message":
        for inner in part.get("content") or ():
            yield from _of_part(inner) if isinstance(inner, Mapping) else (None,)
    elif kind not in ("thinking", "redacted_thinking", "reasoning"):
        yield None


class Listener:
    """Stands before a stream's meter, and keeps the text that passes. said: called once with the
    whole text, where the stream ends as a whole answer without a tool call."""

    def __init__(self, stream: UpstreamStream, said: Callable[[str], None]) -> None:
        self._meter: StreamMeter | None = stream.meter
        self._said = said
        self._texts: list[str] = []
        self._size = 0
        self._is_usable = True
        self._has_ended = False
        stream.meter = self

    def saw(self, events: Sequence[SseEvent]) -> None:
        if self._meter is not None:
            self._meter.saw(events)
        if not self._is_usable:
            return
        self._is_usable = False
        with harmless():
            self._is_usable = all(self._hear(e.parsed) for e in events if e.parsed is not None)
        if not self._is_usable:
            self._drop()

    def ended(self) -> None:
        if self._meter is not None:
            self._meter.ended()
        self._finish()

    def broke(self, error: UpstreamError) -> None:
        self._drop()
        if self._meter is not None:
            self._meter.broke(error)

    def closed(self) -> None:
        # callers hang up as soon as they have the last event
        if self._meter is not None:
            self._meter.closed()
        self._finish()

    def _hear(self, event: Mapping[str, Any]) -> bool:
        """Whether the answer is still one that can be compared."""
        text, is_usable, has_ended = heard(event)
        self._has_ended = self._has_ended or has_ended
        self._size += len(text)
        if text != "":
            self._texts.append(text)
        return is_usable and self._size <= _MOST_CHARS

    def _finish(self) -> None:
        text, is_whole = "".join(self._texts), self._is_usable and self._has_ended
        self._drop()
        if is_whole and text.strip() != "":
            with harmless():
                self._said(text)

    def _drop(self) -> None:
        self._is_usable = False
        self._texts.clear()


def heard(event: Mapping[str, Any]) -> tuple[str, bool, bool]:
    """Returns the text of a stream's event on any surface, whether the answer is still one that can
    be compared, and whether it has ended as a whole."""
    choices = event.get("choices")
    if isinstance(choices, list):
        return _of_chunk(choices)
    kind = event.get("type")
    delta = event.get("delta")
    if kind == "response.output_text.delta":
        return (delta if isinstance(delta, str) else "", True, False)
    if kind == "content_block_delta" and isinstance(delta, Mapping):
        text = delta.get("text")
        return (text if isinstance(text, str) else "", True, False)
    if kind == "message_delta" and isinstance(delta, Mapping):
        reason = delta.get("stop_reason")
        return ("", reason is None or reason in _WHOLE, reason in _WHOLE)
    if kind in ("content_block_start", "response.output_item.added"):
        begun = event.get("content_block") or event.get("item")
        return ("", isinstance(begun, Mapping) and begun.get("type") in _HARMLESS, False)
    return ("", kind not in _FAILED, kind == "response.completed")


_HARMLESS: Final = frozenset({"text", "thinking", "redacted_thinking", "message", "reasoning"})
_FAILED: Final = frozenset({"response.failed", "response.incomplete", "error"})


def _of_chunk(choices: Sequence[object]) -> tuple[str, bool, bool]:
    if not choices:
        return ("", True, False)
    choice = choices[0]
    if len(choices) > 1 or not isinstance(choice, Mapping):
        return ("", False, False)
    delta, reason = choice.get("delta"), choice.get("finish_reason")
    if not isinstance(delta, Mapping):
        delta = {}
    text = delta.get("content")
    is_usable = not delta.get("tool_calls") and (reason is None or reason in _WHOLE)
    return (text if isinstance(text, str) else "", is_usable, reason in _WHOLE)
