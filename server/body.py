"""Bodies: one comes in, within a limit; one goes out, as JSON."""

from __future__ import annotations

import orjson
from fastapi import Request, Response

from server.errors import InvalidRequestError, RequestTooLargeError


async def read_body(request: Request, limit: int) -> bytes:
    """At most limit bytes. Raises RequestTooLargeError, InvalidRequestError."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
        raise RequestTooLargeError(limit)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequestError("content-encoding is not supported: send the body as it is.")
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
