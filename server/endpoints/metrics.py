"""GET /metrics, for Prometheus. Where keys are configured, it needs an admin's key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time

from fastapi import APIRouter, Response
from prometheus_client.core import Metric

from server.config.configured_facts import facts_of_models
from server.endpoints.common import CallerDep, StateDep
from server.errors import ForbiddenError
from server.gateway.local_layers import ALL
from server.shadow.shadow import OUTCOMES
from server.state import State
from server.storage.rows import MICRO
from server.telemetry.metrics import CONTENT_TYPE, gauge, total

router = APIRouter()


@router.get("/metrics")
async def metrics(caller: CallerDep, state: StateDep) -> Response:
    """The metrics in Prometheus' text format. Raises ForbiddenError."""
    if not caller.admin:
        raise ForbiddenError
    return Response(state.observer.metrics.text(), headers={"content-type": CONTENT_TYPE})


def states_of(state: State) -> Iterator[Metric]:
    """The states that are read at each scrape."""
    gateway = state.gateway
    admission = gateway.admission
    yield gauge("under_way", "Requests in progress.", [((), admission.in_flight)])
    yield gauge("waiting", "Requests that wait for others to end.", [((), admission.waiting)])
    yield gauge(
        "resting",
        "1 while the model rests after failures or a Retry-After, else 0.",
        _resting(state),
        "model",
    )
    breakers = gateway.health.states()
    yield gauge(
        "breaker",
        "1 for the current state of the breaker, 0 for its other states.",
        (((kind, n, s), 1.0) for kind, named in breakers.items() for n, s in named.items()),
        "kind",
        "name",
        "state",
    )
    spent = list(gateway.accounts.global_windows())
    yield gauge(
        "window_amount_usd",
        "USD that may be spent in the window.",
        [((n,), a) for n, a, _ in spent],
        "window",
    )
    yield gauge(
        "window_spent_usd",
        "USD that were spent in the window.",
        [((n,), s) for n, _, s in spent],
        "window",
    )
    yield gauge(
        "storage_up", "1 while spend can be written, else 0.", [((), state.store.failure is None)]
    )
    yield gauge(
        "storage_pending",
        "Records that wait to be written to the database.",
        [((), state.store.n_pending)],
    )
    yield total(
        "storage_rejected",
        "Records that the database refused: this spend is missing in the ledger.",
        [((), state.store.n_rejected)],
    )
    yield from _learning(state)
    yield gauge(
        "model_retires_seconds",
        "When the model ends where it is sold, in seconds since 1970 (UTC).",
        _retirements(state),
        "model",
    )
    yield from _shared_sessions(state)
    yield from _jobs(state)


def _learning(state: State) -> Iterator[Metric]:
    shadow = state.shadow
    yield total(
        "shadow_requests",
        "Requests chosen for a second answer, by what became of them.",
        [] if shadow is None else [((name,), shadow.outcomes[name]) for name in OUTCOMES],
        "outcome",
    )
    layers = state.gateway.planner.local
    known = layers.by_scope.get(ALL)
    yield gauge(
        "local_answers",
        "Graded and compared answers that all requests are decided by; 0: not enough yet.",
        [((), 0.0 if known is None else float(known.state.n_answers))],
    )
    yield gauge(
        "local_layers",
        "Local layers in force: that of all answers, and those of profiles and keys.",
        [((), float(len(layers.by_scope)))],
    )
    yield gauge(
        "model_changed_seconds",
        "When it was noticed that the model had changed under its name, in seconds since 1970.",
        [((name,), at_us / MICRO) for name, at_us in layers.changed.items()],
        "model",
    )


def _retirements(state: State) -> Iterator[tuple[tuple[str, ...], float]]:
    for name, facts in facts_of_models(state.settings).items():
        if facts.retirement is not None:
            ends = datetime.combine(facts.retirement.on, time(), UTC)
            yield (name,), ends.timestamp()


def _shared_sessions(state: State) -> Iterator[Metric]:
    """Without values where each process has its own sessions."""
    found = state.gateway.planner.jobs.shared
    shared = [] if found is None else [found]
    yield gauge(
        "shared_sessions_up",
        "0: Redis cannot be reached, and this process knows its own sessions only.",
        [((), one.is_up) for one in shared],
    )
    yield total(
        "shared_sessions_failures",
        "Attempts to reach Redis for sessions that failed.",
        [((), one.failures) for one in shared],
    )


def _jobs(state: State) -> Iterator[Metric]:
    jobs = state.jobs
    yield total(
        "background_failures",
        "Failures of background work.",
        [((job.name,), job.failures) for job in jobs],
        "task",
    )
    yield gauge(
        "background_success_age_seconds",
        "Seconds since the work last succeeded, or since the start.",
        [((job.name,), job.age_s) for job in jobs],
        "task",
    )
    yield gauge(
        "background_stale",
        "1 while the work has not succeeded for too long, else 0.",
        [((job.name,), job.is_stale) for job in jobs],
        "task",
    )


def _resting(state: State) -> Iterator[tuple[tuple[str, ...], float]]:
    cards = state.gateway.planner.catalogue.values()
    resting = state.gateway.health.resting(cards)
    for card in cards:
        yield (card.name,), float(card.name in resting)
