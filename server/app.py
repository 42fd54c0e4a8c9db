"""The application: what it is made of comes in, nothing is global."""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from p2l_model.engine.scorer import Scorer
from router.catalog import ModelCard
from server.auth import Authenticator
from server.endpoints import chat, health, models, routing
from server.endpoints.common import State
from server.error_handlers import add_error_handlers
from server.gateway import Gateway
from server.health import Health
from server.ledger.accounts import Accounts, NoLedger
from server.plan import Planner
from server.settings import Settings
from server.upstream.base import Upstream


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
        await scorer.start()
        state.ready = True
        yield
        state.ready = False
        await gateway.close()
        await scorer.close()

    app = FastAPI(title="p2l-router", lifespan=lifespan, redirect_slashes=False)
    app.state.p2l = state
    for module in (chat, routing, models, health):
        app.include_router(module.router)
    add_error_handlers(app)
    return app
