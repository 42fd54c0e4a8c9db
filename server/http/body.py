"""Bodies: one comes in, within a limit; one goes out, as JSON."""

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
    """Bodies that are on their way. A process that is to stop waits for none of them for long."""

    def __init__(self) -> None:
        self._deadlines: set[asyncio.Timeout] = set()
        self._is_over = False

    async def within(self, timeout_s: float, reading: Coroutine[Any, Any, bytes]) -> bytes:
        """What is read. Raises RequestTimeoutError, OverloadedError where all is over."""
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
        """From now on the rest of a body has a second to come."""
        self._is_over = True
        last = asyncio.get_running_loop().time() + _LAST_BYTES_S
        for deadline in self._deadlines:
            when = deadline.when()
            deadline.reschedule(last if when is None else min(when, last))

    def _late(self, timeout_s: float) -> ApiError:
        if not self._is_over:
            return RequestTimeoutError(timeout_s)
        error = OverloadedError("The server is shutting down.")
        # the rest of the body is not read
        error.headers["connection"] = "close"
        return error


async def read_body(
    request: Request, limit: int, timeout_s: float = 60.0, arrivals: Arrivals | None = None
) -> bytes:
    """At most limit bytes, within timeout_s seconds. arrivals: those of the process. A body that
    is compressed is unpacked: to at most limit bytes too.

    Raises RequestTooLargeError, RequestTimeoutError, InvalidRequestError, ClientDisconnect,
    OverloadedError where the process is to stop.
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
    """JSON without a detour through the framework's encoder, its headers as they are given. body:
    bytes are JSON already."""

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
    """headers: in lower case."""
    return JsonResponse(body, headers or {}, status)


def encoded_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """As ASGI has them; names in lower case."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
