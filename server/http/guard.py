"""The last handler of exceptions: what no other handler caught becomes a response and a log line,
without any content of the request."""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import ApiError, OverloadedError
from server.http.body import json_response
from server.http.disconnect import peer_of
from server.process.bugs import kind_and_place
from server.process.request_id import CURRENT_REQUEST, new_request_id

_LOG = logging.getLogger("p2l_router")


class Guard:
    """ASGI middleware that catches all exceptions; only the framework's own is further out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer, started = peer_of(scope), False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        failure: ApiError
        try:
            await self._app(scope, receive, send if peer is not None else noting)
            return
        except asyncio.CancelledError:
            # The time that a stopping process gives its requests has passed.
            failure = OverloadedError("The server is shutting down.")
            failure.headers["connection"] = "close"
        except Exception as error:
            log_bug(error)
            failure = ApiError("Internal error.", code="internal_error")
        if not (started if peer is None else peer.has_begun):
            headers = {"x-request-id": CURRENT_REQUEST.get() or new_request_id()} | failure.headers
            answer = json_response(failure.body, headers, failure.status)
            await answer(scope, receive, send)


def log_bug(error: BaseException) -> None:
    """Logs where an exception was raised, and its type. Its message, and those of its causes, are
    left out because they may quote the request."""
    _LOG.error("internal error: %s", kind_and_place(error))
