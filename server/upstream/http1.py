"""One HTTP/1.1 connection to a provider, as an asyncio protocol; llhttp does the parsing.

It reports failures as httpx's exceptions and never sends anything twice.
"""

from __future__ import annotations

import asyncio
import math
import re
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import httptools
import httpx

# Bytes of an answer that are held for a slow reader before the provider is slowed down.
_HIGH_WATER_BYTES: Final = 256 * 1024
# A head (or trailers, or interim answers) longer than this is an attack or a fault.
_MAX_QUIET_BYTES: Final = 128 * 1024
_SWITCHING_PROTOCOLS: Final = 101
_KEEP_ALIVE_LENGTH: Final = len(b"keep-alive")
_KEPT_FOR: Final = re.compile(rb"timeout=(\d{1,6})", re.IGNORECASE)


@dataclass(slots=True)
class Deadline:
    """The time after which nothing more is waited for, in seconds on the event loop's clock. It may
    be moved while an answer is read: the connection checks it at each wait."""

    at_s: float


class Connection(asyncio.Protocol):
    """Carries one exchange at a time. on_lost: called when the connection is over."""

    def __init__(self, on_lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._poll = select.poll() if hasattr(select, "poll") else None  # not available on Windows
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0
        self._write_timer: asyncio.TimerHandle | None = None
        self._write_timeout_s: float | None = None
        self._deadline: Deadline | None = None
        self._closed = False
        self._write_paused = False
        self._read_paused = False
        self.idle_since_s = 0.0
        # How long the provider says that it keeps an idle connection, in seconds.
        self.kept_s = math.inf
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._busy = False
        self._has_head = False
        self._complete = False
        self._keep_alive = False
        self._error: httpx.TransportError | None = None
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._quiet_bytes = 0

    # --- methods for the pool and for the reader of an answer

    async def send(
        self, head: bytes, body: bytes, deadline: Deadline | None, write_timeout_s: float | None
    ) -> None:
        """Sends a request; returns when the head of its answer has arrived (status, headers).

        Raises httpx.TransportError.
        """
        self._begin()
        self._busy = True
        self._deadline = deadline
        self._write_timeout_s = write_timeout_s
        self._transport.writelines((head, body))
        while not self._has_head:
            await self._more()

    async def read(self) -> bytes | None:
        """The next bytes of the body; None at its end. Raises httpx.TransportError."""
        while not self._parts:
            if self._complete:
                return None
            await self._more()
        parts, self._parts = self._parts, []
        self._held_bytes = 0
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def rest(self, now_s: float) -> bool:
        """Ends the exchange; returns whether another may follow on this connection."""
        reusable = (
            self._complete
            and self._keep_alive
            and not self._closed
            and self._transport.get_write_buffer_size() == 0
        )
        self._busy = False
        self.idle_since_s = now_s
        if self._read_paused:
            # Nothing more of this answer is needed, and only a reading transport notices that the
            # peer closes.
            self._read_paused = False
            self._transport.resume_reading()
        return reusable

    def is_open(self) -> bool:
        """Whether an idle connection can still be used.

        It asks the operating system: the provider may have closed it although the event loop has
        not noticed yet, and a request sent now would be lost.
        """
        if self._closed or self._transport.is_closing():
            return False
        return self._poll is None or not self._poll.poll(0)

    def abort(self) -> None:
        """Closes at once: the provider notices that nobody reads any more."""
        self._busy = False
        self._transport.abort()

    def close(self) -> None:
        """Closes an idle connection in the regular way."""
        self._transport.close()

    # --- waiting

    async def _more(self) -> None:
        """Waits until something has happened. Raises the error that occurred before."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        self._arm()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _arm(self) -> None:
        # One timer stays active over many waits: setting one for each chunk would cost more than
        # the chunk.
        if self._deadline is None:
            return
        if self._timer is not None:
            # timer.when() cannot be used: uvloop's has no value between its due time and its call.
            if self._timer_at_s <= self._deadline.at_s:
                return
            self._timer.cancel()
        self._timer_at_s = self._deadline.at_s
        self._timer = self._loop.call_at(self._timer_at_s, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._timer = None
        if self._waiter is None or self._deadline is None:
            return
        if self._loop.time() < self._deadline.at_s:
            self._arm()
        else:
            self._fail(httpx.ReadTimeout("the provider took too long"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: httpx.TransportError) -> None:
        if self._complete:
            # The answer is complete: further data only makes the connection unusable.
            self._keep_alive = False
        elif self._error is None:
            self._error = error
        self._wake()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # On an idle connection, readable data is a close or something that nobody asked for.
        if self._poll is not None:
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self.abort()  # nobody asked for it: a late timeout notice, or an answer out of step
            return
        self._quiet_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(httpx.RemoteProtocolError("the provider's answer is not HTTP/1.1"))
        if self._quiet_bytes > _MAX_QUIET_BYTES:
            self._fail(httpx.RemoteProtocolError("the head of the provider's answer is too large"))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        for timer in (self._timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._write_timer = None
        self._on_lost(self)
        if not self._busy or self._complete:
            return
        if isinstance(exc, TimeoutError):
            # The system has probed the connection and received no answer.
            self._fail(httpx.ReadTimeout("the provider is gone"))
        elif exc is not None:
            self._fail(httpx.ReadError("the connection to the provider broke"))
        elif self._has_head and not self._is_framed():
            self._complete = True  # HTTP/1.0 ends an answer this way
            self._wake()
        else:
            self._fail(httpx.RemoteProtocolError("the provider closed before the answer's end"))

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._write_timeout_s is not None:
            self._write_timer = self._loop.call_later(self._write_timeout_s, self._write_timed_out)

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _write_timed_out(self) -> None:
        self._write_timer = None
        if not self._has_head:
            self._fail(httpx.WriteTimeout("the provider does not read the request"))

    def _is_framed(self) -> bool:
        framing = (b"content-length", b"transfer-encoding")
        return any(name.lower() in framing for name, _ in self.headers)

    # --- httptools' callbacks

    def on_message_begin(self) -> None:
        if self._complete:
            self._keep_alive = False  # a second answer to one request
        elif not self._has_head:
            self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # trailers are not needed
            self.headers.append((name, value))
            if len(name) == _KEEP_ALIVE_LENGTH and name.lower() == b"keep-alive":
                found = _KEPT_FOR.search(value)
                seconds = math.inf if found is None else int(found[1])
                # The provider counts from its own last byte, and a request takes a while to arrive.
                self.kept_s = max(seconds - 1.0, seconds / 2)

    def on_headers_complete(self) -> None:
        if self._has_head:
            return
        status = self._parser.get_status_code()
        if status == _SWITCHING_PROTOCOLS:
            self._fail(httpx.RemoteProtocolError("the provider wants another protocol"))
        elif status >= 200:
            self.status = status
            self._has_head = True
            self._quiet_bytes = 0

    def on_body(self, body: bytes) -> None:
        if self._complete or not self._has_head:
            return
        self._quiet_bytes = 0
        self._parts.append(body)
        self._held_bytes += len(body)
        if self._held_bytes > _HIGH_WATER_BYTES and not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._has_head and not self._complete:  # an interim answer (1xx) is not the answer
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()
