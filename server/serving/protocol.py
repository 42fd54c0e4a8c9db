"""uvicorn's HTTP protocol, with the limits that uvicorn leaves to a proxy.

The time and the size of a request's head are limited, and a caller may not stop reading for ever.
Data that is not HTTP is answered in OpenAI's envelope, like every other error.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from server.config.settings import LimitsSettings
from server.http.disconnect import introduce
from server.serving.turn import Turn

_REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_END_OF_HOST = re.compile(rb"[/?#]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """The limits of a connection, times in seconds."""

    max_connections: int
    max_header_bytes: int
    header_timeout_s: float
    write_timeout_s: float

    @classmethod
    def of(cls, limits: LimitsSettings) -> ConnectionLimits:
        """The limits in a configuration."""
        return cls(
            max_connections=limits.max_connections,
            max_header_bytes=limits.max_header_bytes,
            header_timeout_s=limits.header_timeout_s,
            write_timeout_s=limits.write_timeout_s,
        )


class GuardedProtocol(HttpToolsProtocol):
    """One connection of a caller."""

    def __init__(
        self,
        limits: ConnectionLimits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self.on_gone: Callable[[], None] | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            self._refuse(503, "There are too many connections.", "overloaded")
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        super().connection_lost(exc)
        self.is_lost = True
        callback, self.on_gone = self.on_gone, None
        if callback is not None:
            callback()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        # A connection whose head has arrived as a whole needs no timer.
        if self._head_timer is None and self._is_idle() and not self.transport.is_closing():
            self._await_head()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_header_bytes:
                self._refuse(431, "The headers are too large.", "request_too_large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self.url[:1] != b"/":
            self._name_target_host()
        super().on_headers_complete()
        if self.cycle is None or self.cycle.scope is not self.scope:
            return  # it was not a request, but an upgrade to another protocol
        turn = Turn(self, self.cycle)
        introduce(self.scope, turn)
        if self.scope["method"] == "POST":
            self.cycle.transport = turn  # type: ignore[assignment]

    def _name_target_host(self) -> None:
        """Treats the host in an absolute request target (RFC 9112, 3.2.2) as a host that the
        request is sent to, like that of its Host header."""
        scheme, found, rest = self.url.partition(b"://")
        if found and scheme.isalpha():
            host = _END_OF_HOST.split(rest, 1)[0]
            if (b"host", host) not in self.headers:
                self.headers.append((b"host", host))

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(
                self._limits.write_timeout_s, self.transport.abort
            )

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        self._refuse(400, "This is not a valid HTTP request.", "invalid_request")

    def _unsupported_upgrade_warning(self) -> None:
        # This is no fault: the request is answered as if it had asked for no upgrade.
        pass

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self._limits.header_timeout_s, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._head_bytes == 0:
            # The caller never sent anything: there is nothing to answer.
            self.transport.abort()
        else:
            self._refuse(408, "The request did not arrive in time.", "request_timeout")

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = None

    def _refuse(self, status: int, message: str, code: str) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._in_head = False
        if self._is_idle():
            self.transport.write(_response(status, message, code))
        # A caller that is being answered gets no second answer in the middle of the first.
        self.transport.close()


def protocol_factory(limits: ConnectionLimits) -> Callable[..., GuardedProtocol]:
    """The factory that uvicorn calls for every connection."""
    return partial(GuardedProtocol, limits)


def _response(status: int, message: str, code: str) -> bytes:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    body = orjson.dumps({"error": error})
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    if status == 503:
        lines.append("retry-after: 1")
    return "\r\n".join([*lines, "", ""]).encode() + body
