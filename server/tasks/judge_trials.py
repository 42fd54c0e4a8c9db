"""Compares the arms of trials with one another, and stops a trial that goes wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import orjson

from server.config.settings import RoutingSettings
from server.process.background import Job, in_thread
from server.state import State
from server.storage.database import Database
from server.storage.states import put_state, read_state
from server.storage.trial_ratings import trial_ratings
from server.trials.arms import Trials, trials_of
from server.trials.standing import Standing, standing

_LOG: Final = logging.getLogger("p2l_router")
_EVERY_S: Final = 10.0
_STALE_S: Final = 900.0


@asynccontextmanager
async def trials_judged(state: State, every_s: float = _EVERY_S) -> AsyncIterator[None]:
    """Within this context, trials whose new models are worse than allowed are stopped, at all
    gateways of the database."""

    async def judge() -> None:
        routing, planner = state.settings.routing, state.gateway.planner
        configured = trials_of(routing)
        stopped: frozenset[str] = frozenset()
        if configured:
            work = partial(judged, state.store.database, routing, time.time())
            found = await in_thread(work)
            stopped = frozenset(one for one, is_stopped in found.items() if is_stopped)
        planner.trials = Trials(configured, stopped)

    job = Job(name="trials", work=judge, every_s=every_s, stale_after_s=_STALE_S, at_once=True)
    async with state.background.doing(job):
        yield


def trials_json(database: Database, routing: RoutingSettings) -> list[dict[str, Any]]:
    """Each configured trial, and where it stands. Blocks. Raises StorageError."""
    standings = standings_of(database, routing)
    return [
        {
            "profile": profile,
            "id": trial.id,
            "models": sorted(trial.models),
            "share": trial.share,
            "stopped_at": stopped_at(database, trial.id),
            **standings[profile].to_json(),
        }
        for profile, trial in trials_of(routing).items()
    ]


def judged(database: Database, routing: RoutingSettings, now: float) -> Mapping[str, bool]:
    """Whether each configured trial is stopped, by its id. One that is stopped stays so: its new
    models are not tried again before they, or its profile, have another name. Blocks. Raises
    StorageError."""
    standings = standings_of(database, routing)
    found = {}
    for profile, trial in trials_of(routing).items():
        is_stopped = stopped_at(database, trial.id) is not None
        if not is_stopped and standings[profile].verdict == "worse":
            document = {"stopped_at": now, **standings[profile].to_json()}
            put_state(database, _name(trial.id), orjson.dumps(document).decode(), now)
            _LOG.warning("trial of profile %s: stopped, the new models are worse", profile)
            is_stopped = True
        found[trial.id] = is_stopped
    return found


def standings_of(database: Database, routing: RoutingSettings) -> dict[str, Standing]:
    """Where each configured trial stands, by profile. Blocks. Raises StorageError."""
    ratings = trial_ratings(database)
    found = {}
    for profile, trial in trials_of(routing).items():
        rules = routing.profiles[profile].trial
        if rules is not None:
            found[profile] = standing(
                ratings.get(trial.id, []),
                allowed_loss=rules.allowed_loss,
                confidence=rules.confidence,
            )
    return found


def stopped_at(database: Database, trial: str) -> float | None:
    """When a trial was stopped, in seconds since 1970; None where it was not. Blocks. Raises
    StorageError."""
    text = read_state(database, _name(trial))
    return None if text is None else float(orjson.loads(text)["stopped_at"])


def _name(trial: str) -> str:
    return f"trial {trial}"
