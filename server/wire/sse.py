"""Parses and encodes server-sent events. Pure: bytes in, events out, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

DONE_PAYLOAD: Final = b"[DONE]"
DONE: Final = b"data: [DONE]\n\n"
MAX_EVENT_BYTES: Final = 16 * 1024 * 1024

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class SseTooLargeError(ValueError):
    """One event is larger than the parser's limit."""


@dataclass(slots=True)
class SseEvent:
    """One event. data: its payload, with lines joined by LF. name: its `event:` field, or empty.

    parsed: the payload as JSON, where the producer of the event had to parse it anyway. in_call:
    whether it is part of a tool call of a chat completion, or comes after one has begun. is_whole:
    whether it is no event, but a whole answer in place of a stream.
    """

    data: bytes = field(repr=False)
    name: bytes = b""
    parsed: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    in_call: bool = field(default=False, compare=False)
    is_whole: bool = field(default=False, compare=False)

    def json(self) -> dict[str, Any]:
        """The payload as a JSON object that the caller may change."""
        parsed: dict[str, Any] = orjson.loads(self.data) if self.parsed is None else self.parsed
        return dict(parsed)


class SseParser:
    """Parses bytes from the network, cut anywhere, into events."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._held_bytes = 0
        self._name = b""
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that this chunk completes. Raises SseTooLargeError."""
        events: list[SseEvent] = []
        if b"\r" in chunk or self._is_within_event():
            self._feed_lines(chunk, events)
            return events
        *blocks, rest = chunk.split(b"\n\n")
        most = self._max_event_bytes
        for block in blocks:
            # Nearly all events are a single line of data.
            if block.startswith(b"data: ") and b"\n" not in block:
                self._at_start = False
                if len(block) > most:
                    self._hold(len(block))
                events.append(SseEvent(block[6:]))
            else:
                self._feed_lines(block + b"\n\n", events)
        self._feed_lines(rest, events)
        return events

    def _is_within_event(self) -> bool:
        return self._after_cr or self._held_bytes > 0 or bool(self._name)

    def _feed_lines(self, chunk: bytes, events: list[SseEvent]) -> None:
        if self._after_cr and chunk.startswith(b"\n"):
            # The second half of a CRLF that was cut in two: its CR has already ended the line.
            chunk = chunk[1:]
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        for piece in chunk.splitlines(keepends=True):
            self._take(piece, events)

    def flush(self) -> list[SseEvent]:
        """The event that the end of the input leaves unfinished, if any.

        The standard drops it; providers exist that end on `data: [DONE]` with no blank line.
        """
        events: list[SseEvent] = []
        self._take(b"\n", events)
        self._take(b"\n", events)
        return events

    def _take(self, piece: bytes, events: list[SseEvent]) -> None:
        self._hold(len(piece))
        if not piece.endswith((b"\n", b"\r")):
            self._line += piece
            return
        line = bytes(self._line) + piece.rstrip(b"\r\n")
        self._line.clear()
        if self._at_start:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
        if line:
            self._take_field(line)
        else:
            self._dispatch(events)

    def _hold(self, n_bytes: int) -> None:
        self._held_bytes += n_bytes
        if self._held_bytes > self._max_event_bytes:
            raise SseTooLargeError(f"an event is larger than {self._max_event_bytes} bytes")

    def _take_field(self, line: bytes) -> None:
        if line.startswith(b":"):
            # Keep-alives may come for hours; they do not count as held bytes.
            self._held_bytes = sum(map(len, self._data))
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data:
            events.append(SseEvent(b"\n".join(self._data), self._name))
        self._data = []
        self._name = b""
        self._held_bytes = 0


def encode_event(payload: bytes, name: bytes = b"") -> bytes:
    """Encodes one event. A payload with line ends becomes several `data:` lines."""
    if not name and b"\n" not in payload and b"\r" not in payload:
        return b"data: " + payload + b"\n\n"
    named = b"event: " + name + b"\n" if name else b""
    lines = (b"data: " + line + b"\n" for line in _LINE_END.split(payload))
    return named + b"".join(lines) + b"\n"


def error_event(error: Mapping[str, Any]) -> bytes:
    """The event that ends a failed stream, as OpenAI sends it; its SDKs raise APIError on it.

    error: the object inside the envelope, {"message", "type", "param", "code"}.
    """
    return encode_event(orjson.dumps({"error": dict(error)}))
