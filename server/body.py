"""Bodies: one comes in, within a limit; one goes out, as JSON."""

from __future__ import annotations

import asyncio

import orjson
from fastapi import Request, Response

from server.disconnect import peer_of
from server.errors import InvalidRequestError, RequestTimeoutError, RequestTooLargeError


async def read_body(request: Request, limit: int, timeout_s: float = 60.0) -> bytes:
    """At most limit bytes, within timeout_s seconds.

    Raises RequestTooLargeError, RequestTimeoutError, InvalidRequestError.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
        raise RequestTooLargeError(limit)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequestError("content-encoding is not supported: send the body as it is.")
    peer = peer_of(request.scope)
    if peer is not None and peer.has_sent_all:
        return await _read(request, limit)  # it does not wait: no timer is needed
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


def json_response(
    body: object, headers: dict[str, str] | None = None, status: int = 200
) -> Response:
    """JSON without a detour through the framework's encoder."""
    return Response(orjson.dumps(body), status, headers, "application/json")
