"""Creates the application. All its parts are passed in; there is no global state."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from p2l_model.engine.scorer import Scorer
from router.catalog import ModelCard
from server.accounts.budgets import Budgets
from server.auth.authenticator import Authenticator
from server.build import build_accounts, build_store
from server.catalogue.cards import build_catalogue
from server.catalogue.price_updates import hours_followed, prices_kept_current
from server.catalogue.provider_lists import ModelLists, lists_followed
from server.config.configured_facts import facts_of_models
from server.config.settings import Settings
from server.endpoints import (
    admin,
    dashboard,
    decisions,
    feedback,
    health,
    inference,
    key,
    models,
    overview,
    responses,
    routing,
)
from server.endpoints import (
    metrics as metrics_endpoint,
)
from server.endpoints.application import GatewayApp
from server.endpoints.metrics import states_of
from server.gateway.admission import Admission
from server.gateway.gateway import Gateway
from server.gateway.output_lengths import lengths_kept
from server.gateway.planner import Planner
from server.gateway.receipts import Receipts
from server.gateway.routed_request import Exchange
from server.health import Health
from server.http.error_handlers import add_error_handlers
from server.process.closing import Closing
from server.process.request_id import Entropy
from server.state import State
from server.storage.housekeeping import kept_alive
from server.storage.recovery import Lost
from server.storage.store import Store
from server.tasks.learn_tastes import tastes_kept_current
from server.tasks.refresh_keys import keys_kept_current
from server.telemetry.metrics import GatewayMetrics
from server.telemetry.observer import Observer
from server.telemetry.tracing import build_traces
from server.upstream.base import Upstream

_ENDPOINTS = (
    inference, responses, routing, decisions, feedback, admin, models, key, health,
    metrics_endpoint, dashboard, overview,
)  # fmt: skip


def create_app(
    settings: Settings,
    scorer: Scorer,
    upstreams: Mapping[str, Upstream],
    catalogue: Sequence[ModelCard],
    authenticator: Authenticator | None = None,
    store: Store | None = None,
) -> FastAPI:
    """The gateway's ASGI application. upstreams: by provider name. It closes the scorer, the
    upstreams and the store at the end.

    Raises ConfigError where no store is given and the configured one cannot be written,
    ExtraMissingError where tracing is enabled and not installed.
    """
    kept = store or build_store(settings.storage, os.environ)
    traces = build_traces(settings.telemetry.otlp_endpoint)
    observer = Observer(GatewayMetrics(), traces)
    gateway = build_gateway(settings, scorer, upstreams, catalogue, kept, observer)
    checked = authenticator or Authenticator.from_settings(settings.auth, os.environ)
    state = State(settings, gateway, checked, kept, observer, created=int(time.time()))
    observer.metrics.read(lambda: states_of(state))
    # Stored keys are added and revoked while the server runs.
    gateway.admission.has_several = lambda: state.authenticator.has_several

    def current_catalogue() -> tuple[ModelCard, ...]:
        return build_catalogue(state.settings)

    def serve(cards: tuple[ModelCard, ...]) -> None:
        # The current gateway: a reload may have replaced it.
        state.gateway.planner.serve(cards)

    def new_prices() -> None:
        serve(current_catalogue())

    def put(found: Settings) -> None:
        state.settings = found
        state.gateway.planner.serve(build_catalogue(found), facts_of_models(found))

    lists = ModelLists(lambda: state.settings, put, os.environ)

    def release(lost: Sequence[Lost]) -> None:
        state.gateway.accounts.release_lost(lost, state.authenticator.callers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with Closing() as closing:
            closing.at_the_end("traces", partial(asyncio.to_thread, traces.close))
            closing.at_the_end("storage", partial(asyncio.to_thread, kept.close))
            await asyncio.to_thread(kept.start)
            # The current parts: a reload may have replaced the first ones.
            closing.at_the_end("threads", partial(asyncio.to_thread, gateway.heavy.close))
            closing.at_the_end("scorer", lambda: state.gateway.planner.scorer.close())
            closing.at_the_end("accounts", lambda: state.gateway.accounts.close())
            closing.at_the_end("providers", lambda: state.gateway.close())
            background = state.background
            async with (
                keys_kept_current(state),
                kept_alive(kept, background, release),
                prices_kept_current(lambda: state.settings.prices, background, new_prices),
                hours_followed(background, current_catalogue, serve),
                lists_followed(background, lists),
                lengths_kept(background, kept, lambda: state.gateway.planner.learned.lengths),
                tastes_kept_current(state),
            ):
                await scorer.start()
                state.ready = True
                yield
                state.ready = False

    app = GatewayApp(
        state,
        inference.FORWARDING,
        title="p2l-router",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    for module in _ENDPOINTS:
        app.include_router(module.router)
    add_error_handlers(app)
    return app


def build_gateway(
    settings: Settings,
    scorer: Scorer,
    upstreams: Mapping[str, Upstream],
    catalogue: Sequence[ModelCard],
    store: Store,
    observer: Observer,
    previous: Gateway | None = None,
) -> Gateway:
    """Builds the gateway. previous: the gateway that this one replaces. Its places, accounts and
    health are kept and follow the new settings, and its learnt state is taken over."""
    entropy = Entropy()
    routing = settings.routing
    if previous is None:
        admission = Admission(settings.limits.max_concurrency)
        accounts = build_accounts(settings, store, observer.settled)
        health = Health(routing.breaker.rules, time.monotonic, entropy.random)
    else:
        admission, accounts, health = previous.admission, previous.accounts, previous.health
    receipts = Receipts(store, settings.scorer, keep_prompts=settings.storage.keep_prompts)

    def keep(exchange: Exchange) -> None:
        observer.decided(exchange)
        receipts.keep(exchange)

    gateway = Gateway(
        Planner(
            catalogue,
            routing,
            settings.scorer,
            scorer,
            upstreams,
            settings.aliases,
            accounts.usd_per_win,
            facts_of_models(settings),
            [name for name, provider in settings.providers.items() if provider.private],
            None if previous is None else previous.planner,
            accounts.purses,
        ),
        upstreams,
        admission=admission,
        accounts=accounts,
        retries=routing.retries,
        hedge_after_s=routing.hedge_after_s,
        health=health,
        entropy=entropy,
        keep=keep,
    )
    # Last, so that a gateway that cannot be built leaves the previous one unchanged.
    admission.follow(settings.limits)
    if previous is not None:
        accounts.budgets = Budgets(routing.window_budgets, accounts.budgets)
        accounts.policy = settings.storage.unknown_cost
        if accounts.purses is not None:
            accounts.purses.default_usd = routing.sessions.budget_usd
        store.settings = settings.storage
        health.configured_anew(routing.breaker.rules)
    return gateway
