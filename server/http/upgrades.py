"""Refuses requests to switch the protocol of a connection: only HTTP/1.1 is supported, and a caller
learns this at once, with or without a key.

Codex tries a WebSocket first. After a 426 it goes on with plain requests; after anything else it
tries again and again.
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Scope

from server.errors import UpgradeRequiredError
from server.http.body import json_response
from server.process.request_id import new_request_id
from server.wire.headers import find_header


def wants_websocket(scope: Scope) -> bool:
    """Whether a request is the handshake of a WebSocket."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    return (find_header(scope["headers"], b"upgrade") or b"").lower() == b"websocket"


def no_websocket() -> Response:
    """The refusal of a WebSocket."""
    error = UpgradeRequiredError()
    headers = error.headers | {"x-request-id": new_request_id()}
    return json_response(error.body, headers, error.status)
