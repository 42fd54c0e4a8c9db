"""Creates the application. All its parts are passed in; there is no global state."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from fastapi import FastAPI

from p2l_model.engine.scorer import Scorer
from router.catalog import ModelCard
from server.accounts.accounts import Accounts
from server.accounts.budgets import Budgets
from server.auth.authenticator import Authenticator
from server.build import build_accounts, build_store, sessions_client
from server.config.configured_facts import facts_of_models
from server.config.settings import Settings
from server.endpoints import (
    admin,
    dashboard,
    decisions,
    feedback,
    health,
    inference,
    insight,
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
from server.gateway.jobs import Jobs
from server.gateway.planner import Planner
from server.gateway.receipts import Receipts
from server.gateway.routed_request import Exchange
from server.health import Health
from server.http.error_handlers import add_error_handlers
from server.process.request_id import Entropy
from server.shadow.shadow import Shadow
from server.state import State
from server.storage.store import Store
from server.tasks.lifetime import Lifetime
from server.telemetry.metrics import GatewayMetrics
from server.telemetry.observer import Observer
from server.telemetry.tracing import build_traces
from server.upstream.base import Upstream

_ENDPOINTS = (
    inference, responses, routing, decisions, feedback, admin, models, key, health,
    metrics_endpoint, dashboard, overview, insight,
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
    state.shadow = Shadow(lambda: state.settings.learning, lambda: state.gateway, kept.database)
    observer.metrics.read(lambda: states_of(state))
    # Stored keys are added and revoked while the server runs.
    gateway.admission.has_several = lambda: state.authenticator.has_several

    app = GatewayApp(
        state,
        inference.FORWARDING,
        title="p2l-router",
        lifespan=Lifetime(state, traces),
        redirect_slashes=False,
        # those of the framework are read from another host
        docs_url=None,
        redoc_url=None,
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
    jobs = _jobs(settings, entropy, accounts, previous)
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
            jobs,
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
    if jobs.shared is not None:
        caches = gateway.planner.learned.caches
        jobs.shared.follow(lambda: scorer.models, caches, routing.sessions.ttl_s)
    # Last, so that a gateway that cannot be built leaves the previous one unchanged.
    admission.follow(settings.limits)
    observer.traces.follow(settings.providers)
    if previous is not None:
        _follow(settings, accounts, store, health)
    return gateway


def _jobs(
    settings: Settings, entropy: Entropy, accounts: Accounts, previous: Gateway | None
) -> Jobs:
    if previous is None:
        redis, known = sessions_client(settings), None
    else:
        redis, known = None, previous.planner.jobs
    return Jobs(settings.routing.sessions, entropy, known, accounts.purses, redis=redis)


def _follow(settings: Settings, accounts: Accounts, store: Store, health: Health) -> None:
    """Lets the parts that a new gateway takes over follow new settings."""
    routing = settings.routing
    accounts.budgets = Budgets(routing.window_budgets, accounts.budgets)
    accounts.policy = settings.storage.unknown_cost
    if accounts.purses is not None:
        accounts.purses.default_usd = routing.sessions.budget_usd
    store.settings = settings.storage
    health.configured_anew(routing.breaker.rules)
