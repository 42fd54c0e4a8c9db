"""The model service's ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.error_handlers import add_error_handlers
from server.http.origins import OriginGuard
from server.scoring.service import endpoints
from server.scoring.service.metrics import ServiceMetrics
from server.scoring.service.service import ModelService


def create_model_app(service: ModelService) -> FastAPI:
    """The ASGI app, which starts and stops the service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(title="p2l-router model", lifespan=lifespan, redirect_slashes=False)
    app.state.service = service
    app.include_router(endpoints.router)
    add_error_handlers(app)
    app.add_middleware(OriginGuard, authenticator=service.authenticator)
    app.add_middleware(_Counting, metrics=service.metrics)
    return app


class _Counting:
    """Counts answers by route and status."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            # The route and not the path: callers' input must not become labels.
            self._metrics.answered(getattr(scope.get("route"), "path", "none"), status)
