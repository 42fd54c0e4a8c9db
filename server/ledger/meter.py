"""A streamed answer with its entry: settled when the stream ends, breaks or is given up."""

from __future__ import annotations

from server.ledger.attempt import Outcome
from server.ledger.entry import Entry
from server.sse import SseEvent
from server.upstream.base import UpstreamStream
from server.upstream.errors import UpstreamError


def metered(stream: UpstreamStream, entry: Entry) -> UpstreamStream:
    """The same stream. Its end is settled before its reader sees it."""
    stream.meter = _Meter(entry, stream)
    return stream


class _Meter:
    """See StreamMeter."""

    def __init__(self, entry: Entry, stream: UpstreamStream) -> None:
        self._entry = entry
        self._stream = stream

    def saw(self, event: SseEvent) -> None:
        if event.parsed is not None:
            self._entry.see(event.parsed)

    def ended(self) -> None:
        self._entry.settle(Outcome.ANSWERED)

    def broke(self, error: UpstreamError) -> None:
        self._count_so_far()
        self._entry.fail(error)

    def closed(self) -> None:
        self._count_so_far()
        self._entry.settle(Outcome.CANCELLED)

    def _count_so_far(self) -> None:
        told = self._stream.usage_so_far
        usage = told() if told is not None and self._entry.is_open else None
        if usage is not None:
            self._entry.read_beginning(usage)
