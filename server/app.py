"""The application: what it is made of comes in, nothing is global."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from p2l_model.engine.scorer import Scorer
from router.catalog import ModelCard
from server.auth import Authenticator
from server.build import build_store
from server.endpoints import chat, health, models, routing
from server.endpoints.common import State
from server.error_handlers import add_error_handlers
from server.gateway import Gateway
from server.health import Health
from server.ledger.accounts import Accounts
from server.plan import Planner
from server.settings import Settings
from server.storage.housekeeping import kept_alive
from server.storage.store import Store
from server.upstream.base import Upstream


def create_app(
    settings: Settings,
    scorer: Scorer,
    upstreams: Mapping[str, Upstream],
    catalogue: Sequence[ModelCard],
    authenticator: Authenticator | None = None,
    store: Store | None = None,
) -> FastAPI:
    """The gateway's ASGI app. upstreams: by provider name. It closes scorer, upstreams and store.

    Raises ConfigError where store is not given and the configured one cannot be written.
    """
    kept = store or build_store(settings.storage, os.environ)
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
        accounts=Accounts(kept, policy=settings.storage.unknown_cost),
    )
    checked = authenticator or Authenticator.from_settings(settings.auth, os.environ)
    state = State(settings, gateway, checked, kept, created=int(time.time()))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(kept.start)
        async with kept_alive(kept):
            await scorer.start()
            state.ready = True
            yield
            state.ready = False
            await gateway.close()
            await scorer.close()
        await asyncio.to_thread(kept.close)

    app = FastAPI(title="p2l-router", lifespan=lifespan, redirect_slashes=False)
    app.state.p2l = state
    for module in (chat, routing, models, health):
        app.include_router(module.router)
    add_error_handlers(app)
    return app
