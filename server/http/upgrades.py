"""Wishes for another protocol on a connection: none but HTTP/1.1 is spoken here, and a caller is
told so at once, with or without a key.

Codex tries a websocket first. Upon a 426 it goes on with plain requests; anything else it tries
again and again.
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Scope

from server.errors import UpgradeRequiredError
from server.http.body import json_response
from server.process.request_id import new_request_id
from server.wire.headers import find_header


def wants_websocket(scope: Scope) -> bool:
    """Whether a request is the handshake of a websocket."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    return (find_header(scope["headers"], b"upgrade") or b"").lower() == b"websocket"


def no_websocket() -> Response:
    """The answer to it."""
    error = UpgradeRequiredError()
    headers = error.headers | {"x-request-id": new_request_id()}
    return json_response(error.body, headers, error.status)
