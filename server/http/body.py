"""Reads the body of a request, within a size limit, and writes JSON bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import orjson
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from server.errors import (
    ApiError,
    OverloadedError,
    RequestTimeoutError,
    RequestTooLargeError,
)
from server.http.disconnect import peer_of
from server.http.unpacking import encodings_of, unpacked
from server.wire.headers import find_header

_LAST_BYTES_S: Final = 1.0
_ENCODING: Final = b"content-encoding"


class Arrivals:
    """The bodies that are being read. A process that is stopping does not wait long for them."""

    def __init__(self) -> None:
        self._deadlines: set[asyncio.Timeout] = set()
        self._is_over = False

    async def within(self, timeout_s: float, reading: Coroutine[Any, Any, bytes]) -> bytes:
        """The result of `reading`. Raises RequestTimeoutError, or OverloadedError where the process
        is stopping."""
        if self._is_over:
            timeout_s = min(timeout_s, _LAST_BYTES_S)
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                self._deadlines.add(deadline)
                try:
                    return await reading
                finally:
                    self._deadlines.discard(deadline)
        except TimeoutError:
            raise self._late(timeout_s) from None

    def hurry(self) -> None:
        """From now on, the rest of each body has one second to arrive."""
        self._is_over = True
        last = asyncio.get_running_loop().time() + _LAST_BYTES_S
        for deadline in self._deadlines:
            when = deadline.when()
            deadline.reschedule(last if when is None else min(when, last))

    def _late(self, timeout_s: float) -> ApiError:
        if not self._is_over:
            return RequestTimeoutError(timeout_s)
        error = OverloadedError("The server is shutting down.")
        # The rest of the body is not read.
        error.headers["connection"] = "close"
        return error


async def read_body(
    request: Request, limit: int, timeout_s: float = 60.0, arrivals: Arrivals | None = None
) -> bytes:
    """Reads at most `limit` bytes within timeout_s seconds. A compressed body is unpacked, to at
    most `limit` bytes too. arrivals: those of the process.

    Raises RequestTooLargeError, RequestTimeoutError, InvalidRequestError, ClientDisconnect, or
    OverloadedError where the process is stopping.
    """
    raw = request.scope["headers"]
    if find_header(raw, _ENCODING) is None:
        return await _as_it_came(request, limit, timeout_s, arrivals)
    encodings = encodings_of(b",".join(value for name, value in raw if name == _ENCODING))
    body = await _as_it_came(request, limit, timeout_s, arrivals)
    for encoding in encodings:
        body = await unpacked(body, encoding, limit)
    return body


async def _as_it_came(
    request: Request, limit: int, timeout_s: float, arrivals: Arrivals | None
) -> bytes:
    raw = request.scope["headers"]
    peer = peer_of(request.scope)
    if peer is not None and peer.has_sent_all:
        if peer.is_gone:
            raise ClientDisconnect
        body = peer.take_body()
        if len(body) > limit:
            raise RequestTooLargeError(limit)
        return body
    declared = find_header(raw, b"content-length") or b""
    if declared.isdigit() and int(declared[:20]) > limit:
        raise RequestTooLargeError(limit)
    return await (arrivals or Arrivals()).within(timeout_s, _read(request, limit))


async def _read(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise RequestTooLargeError(limit)
    return bytes(body)


class JsonResponse(Response):
    """A JSON response that bypasses the framework's encoder; its headers are sent as given. body:
    an object, or bytes that are already JSON."""

    def __init__(self, body: object, headers: Mapping[str, str], status: int) -> None:
        self.status_code = status
        self.background = None
        self.body = body if isinstance(body, bytes) else orjson.dumps(body)
        self.raw_headers = encoded_headers(headers)
        self.raw_headers += (
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
        )


def json_response(
    body: object, headers: Mapping[str, str] | None = None, status: int = 200
) -> Response:
    """A JSON response. headers: names in lower case."""
    return JsonResponse(body, headers or {}, status)


def encoded_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers in ASGI's form. Names must be in lower case."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
