"""Bodies: one comes in, within a limit; one goes out, as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import orjson
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from server.disconnect import peer_of
from server.errors import InvalidRequestError, RequestTimeoutError, RequestTooLargeError


async def read_body(request: Request, limit: int, timeout_s: float = 60.0) -> bytes:
    """At most limit bytes, within timeout_s seconds.

    Raises RequestTooLargeError, RequestTimeoutError, InvalidRequestError, ClientDisconnect.
    """
    raw = request.scope["headers"]
    if find_header(raw, b"content-encoding") not in (None, b"identity"):
        raise InvalidRequestError("content-encoding is not supported: send the body as it is.")
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
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(request, limit)
    except TimeoutError:
        raise RequestTimeoutError(timeout_s) from None


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


def find_header(raw: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first of a request's headers by that name, in lower case."""
    for known, value in raw:
        if known == name:
            return value
    return None


def encoded_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """As ASGI has them; names in lower case."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
