"""One request on a connection: the caller's side of it, and the path of its answer."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from server.serving.protocol import GuardedProtocol

# The beginning of an interim answer, which precedes the answer.
_INTERIM: Final = b"HTTP/1.1 1"
_LINE_END: Final = b"\r\n"


class JoinedWrites:
    """A transport that holds the head of an answer until the first bytes of its body are there,
    or at the latest until the end of the event loop's round: one system call and one packet for
    both."""

    __slots__ = ("_head", "_is_past", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._is_past = False

    def write(self, data: bytes) -> None:
        if self._is_past:
            self._transport.write(data)
        elif self._head:
            self._is_past = True
            self._transport.write(self._head + data)
        elif data.startswith(_INTERIM):
            self._transport.write(data)
        else:
            self._head = data
            self._loop.call_soon(self._let_go)

    def close(self) -> None:
        self._let_go()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _let_go(self) -> None:
        if not self._is_past and self._head:
            self._is_past = True
            self._transport.write(self._head)


class Turn(JoinedWrites):
    """Implements server.http.disconnect.Peer; it is also the transport of the answer."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: GuardedProtocol, cycle: RequestResponseCycle) -> None:
        super().__init__(protocol.transport, protocol.loop)
        self._protocol = protocol
        # The cycle refers to this object, by its scope and as its transport: a strong reference
        # would leave both, with the request's headers, to the garbage collector.
        self._cycle: RequestResponseCycle = weakref.proxy(cycle)

    @property
    def has_sent_all(self) -> bool:
        return not self._cycle.more_body

    @property
    def is_gone(self) -> bool:
        return self._protocol.is_lost

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        """Sets the callback; one request of a connection is served at a time."""
        self._protocol.on_gone = callback

    @property
    def has_begun(self) -> bool:
        return bool(self._cycle.response_started)

    def break_off(self) -> None:
        # This tells uvicorn that the answer will not be ended, and that this is no fault.
        self._cycle.disconnected = True
        self.close()

    def take_body(self) -> bytes:
        cycle = self._cycle
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.flow.resume_reading()
        return body

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        cycle = self._cycle
        is_plain = cycle.keep_alive and not cycle.access_log
        if not is_plain or cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
            return False
        lines = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            lines += (name, b": ", value, _LINE_END)
        head = b"".join(lines)
        n_lines = len(lines) // 4 + 1
        if head.count(b"\n") != n_lines or head.count(b"\r") != n_lines or b"\0" in head:
            return False  # a header holds a forbidden character: uvicorn reports it
        if b"\r\nconnection: " in head:
            return False  # it may say that this is the last answer
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self._transport.write(b"".join((head, _LINE_END, body)))
        cycle.message_event.set()
        cycle.on_response()
        return True
