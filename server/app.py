"""The application: what it is made of comes in, nothing is global."""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from p2l_model.engine.scorer import Scorer
from router.catalog import ModelCard
from server.auth import Authenticator
from server.endpoints import chat, health, models, routing
from server.endpoints.common import State, json_response
from server.errors import ApiError
from server.gateway import Gateway
from server.health import Health
from server.ledger.accounts import Accounts, NoLedger
from server.plan import Planner
from server.request_id import new_request_id
from server.settings import Settings
from server.upstream.base import Upstream

# The status that servers log for a caller who hung up; nobody receives it.
_CLIENT_CLOSED = 499


def create_app(
    settings: Settings,
    scorer: Scorer,
    upstreams: Mapping[str, Upstream],
    catalogue: Sequence[ModelCard],
    authenticator: Authenticator | None = None,
) -> FastAPI:
    """The gateway's ASGI app. upstreams: by provider name. It closes scorer and upstreams."""
    planner = Planner(catalogue, settings.routing, settings.scorer, scorer, upstreams)
    entropy = random.SystemRandom()
    gateway = Gateway(
        planner,
        upstreams,
        max_concurrency=settings.limits.max_concurrency,
        fallbacks=settings.routing.fallbacks,
        retries=settings.routing.retries,
        health=Health(settings.routing.breaker.rules, time.monotonic, entropy.random),
        entropy=entropy,
        accounts=Accounts(NoLedger()),
    )
    checked = authenticator or Authenticator.from_settings(settings.auth, os.environ)
    state = State(settings, gateway, checked, created=int(time.time()))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        state.ready = True
        yield
        state.ready = False
        await gateway.close()
        await scorer.close()

    app = FastAPI(title="p2l-router", lifespan=lifespan, redirect_slashes=False)
    app.state.p2l = state
    for module in (chat, routing, models, health):
        app.include_router(module.router)
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_bug)
    return app


def _request_id(request: Request) -> dict[str, str]:
    return {"x-request-id": getattr(request.state, "request_id", None) or new_request_id()}


async def _on_api_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return json_response(error.body, _request_id(request) | error.headers, error.status)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """A path or method that does not exist, in OpenAI's envelope too."""
    if not isinstance(error, HTTPException):
        raise error
    message = f"{request.method} {request.url.path[:200]}: {error.detail}"
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    headers = _request_id(request) | dict(error.headers or {})
    return json_response({"error": body}, headers, error.status_code)


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED)


async def _on_bug(request: Request, _: Exception) -> Response:
    """Ours to mend; the message says nothing of what was asked."""
    body = {"message": "Internal error.", "type": "server_error", "param": None, "code": None}
    return json_response({"error": body}, _request_id(request), 500)
