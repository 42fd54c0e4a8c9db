"""The ASGI entry point of the application.

Forwarded requests are frequent, and FastAPI would pass each of them through half a dozen layers, at
several times the cost of forwarding it. So a POST to one of their paths is handed straight to its
endpoint in `server/endpoints/inference.py`. FastAPI has the same functions for its documentation,
and serves everything else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from server.auth.authenticator import Caller
from server.errors import ApiError
from server.gateway.routed_request import Exchange
from server.http.body import JsonResponse
from server.http.disconnect import peer_of
from server.http.error_handlers import CLIENT_CLOSED, on_api_error
from server.http.guard import Guard
from server.http.joining import RECORDED
from server.http.origins import ADDS_HEADERS, judge
from server.http.plain_paths import plain_path
from server.http.upgrades import no_websocket, wants_websocket
from server.ledger.attempt import Outcome
from server.state import State

# Answers a request of an authenticated caller. Raises ApiError, ClientDisconnect.
Endpoint = Callable[[Request, Caller, State], Awaitable[Response]]


class GatewayApp(FastAPI):
    """The ASGI application. endpoints: maps a path to the endpoint for a POST to it. state: the
    state that all endpoints share."""

    def __init__(self, state: State, endpoints: Mapping[str, Endpoint], **options: Any) -> None:
        super().__init__(**options)
        self.state.p2l = self._held = state
        self._endpoints = dict(endpoints)
        self._forwarding = Guard(self._forward)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Reads attributes only: with keys and no web pages, which is the usual case, no call is
        # made.
        state = self._held
        origins = state.settings.server.cors_origins
        if (state.authenticator.is_open or origins) and scope["type"] == "http":
            verdict = judge(scope, state.authenticator, origins)
            if verdict.answer is not None:
                await verdict.answer(scope, receive, self._counting(scope, send))
                return
            send = verdict.sending(scope, send)
        if scope["type"] == "http" and scope["path"] not in self._endpoints:
            scope = _as_meant(scope)
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        if is_post and scope["path"] in self._endpoints:
            scope["app"] = self
            await self._forwarding(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "HEAD":
            await self._head(scope, receive, send)
        elif wants_websocket(scope):
            await no_websocket()(scope, receive, self._counting(scope, send))
        else:
            await super().__call__(scope, receive, self._counting(scope, send))

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves HEAD as GET without its body. The dashboard distinguishes the two."""

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        asked = scope if scope["path"] == "/" else {**scope, "method": "GET"}
        await super().__call__(asked, receive, self._counting(asked, without_body))

    def _counting(self, scope: Scope, send: Send) -> Send:
        """Counts the answer by its route; all unknown paths count as one."""
        state = self._held

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                path = getattr(route, "path", "other")
                state.observer.metrics.answered(path, message["status"])
            await send(message)

        return counting

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        state = self._held
        trace = state.observer.traces.begin(scope["path"], request.headers)
        scope.setdefault("state", {})["trace"] = trace
        status = CLIENT_CLOSED
        try:
            response = await self._answered(request, state)
            status = response.status_code
            state.observer.metrics.answered(scope["path"], status)
            if not _answered_at_once(scope, response):
                # The request's own send function, which records an answer that others may join.
                await response(scope, receive, request._send)
        finally:
            trace.end(status)
            noted = scope["state"]
            if RECORDED in noted:
                state.joining.end(noted[RECORDED], is_good=_ended_well(noted))

    async def _answered(self, request: Request, state: State) -> Response:
        try:
            caller = state.authenticator.caller(request.headers)
            return await self._endpoints[request.scope["path"]](request, caller, state)
        except ApiError as error:
            return await on_api_error(request, error)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED)


def _ended_well(noted: Mapping[str, Any]) -> bool:
    """Whether the answer is a success: false for a stream that ended with an error; other failures
    have another status."""
    exchange: Exchange | None = noted.get("exchange")
    entry = None if exchange is None else exchange.entry
    return entry is None or entry.row.outcome is Outcome.ANSWERED


def _as_meant(scope: Scope) -> Scope:
    path = plain_path(scope["path"])
    return scope if path == scope["path"] else {**scope, "path": path, "raw_path": path.encode()}


def _answered_at_once(scope: Scope, response: Response) -> bool:
    peer = peer_of(scope)
    if peer is None or ADDS_HEADERS in scope or not isinstance(response, JsonResponse):
        return False
    return peer.answer(response.status_code, response.raw_headers, bytes(response.body))
