"""Meters a streamed answer: its entry is settled when the stream ends, breaks off or is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.ledger.attempt import Outcome
from server.ledger.entry import Entry
from server.upstream.base import UpstreamStream
from server.upstream.errors import UpstreamError
from server.wire.shapes import word
from server.wire.sse import SseEvent
from server.wire.usage import ends_chat

# The last events of the responses and messages surfaces.
_LAST: Final = frozenset({"message_stop", "response.completed", "response.incomplete"})


def metered(stream: UpstreamStream, entry: Entry) -> UpstreamStream:
    """Returns the same stream, metered. The entry is settled before the reader sees the stream's
    end."""
    stream.meter = _Meter(entry, stream)
    return stream


class _Meter:
    """Receives a stream's events before its reader does."""

    def __init__(self, entry: Entry, stream: UpstreamStream) -> None:
        self._entry = entry
        self._stream = stream
        self._last: Mapping[str, Any] = {}

    def saw(self, events: Sequence[SseEvent]) -> None:
        see = self._entry.see
        for event in events:
            if event.parsed is not None:
                self._last = event.parsed
                see(event.parsed)

    def ended(self) -> None:
        self._entry.settle(Outcome.ANSWERED)

    def broke(self, error: UpstreamError) -> None:
        self._count_so_far()
        self._entry.fail(error)

    def closed(self) -> None:
        if _is_last(self._last):
            # Callers hang up as soon as they have the last event: they have received the whole
            # answer.
            self._entry.settle(Outcome.ANSWERED)
            return
        self._count_so_far()
        self._entry.settle(Outcome.CANCELLED)

    def _count_so_far(self) -> None:
        told = self._stream.usage_so_far
        usage = told() if told is not None and self._entry.is_open else None
        if usage is not None:
            self._entry.read_beginning(usage)


def _is_last(event: Mapping[str, Any]) -> bool:
    """Whether nothing of an answer follows this event. Chunks of chat completions show it by their
    usage, after the end of the choices or together with it."""
    if word(event.get("type")) in _LAST:
        return True
    choices, usage = event.get("choices"), event.get("usage")
    if not isinstance(choices, list) or not isinstance(usage, dict):
        return False
    return ends_chat(choices, usage)
