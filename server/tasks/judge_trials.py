"""Compares the arms of trials with one another, and stops a trial that goes wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import orjson

from server.config.settings import RoutingSettings
from server.process.background import Job, in_thread
from server.state import State
from server.storage.database import Database
from server.storage.graded_answers import feedback_version
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
    judging = _Judging(state)
    job = Job(name="trials", work=judging, every_s=every_s, stale_after_s=_STALE_S, at_once=True)
    async with state.background.doing(job):
        yield


class _Judging:
    """Judges where the feedback or the trials have changed, since all ratings are read for it; what
    another gateway has stopped is looked up each time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._judged: tuple[object, ...] = ()

    async def __call__(self) -> None:
        routing, planner = self._state.settings.routing, self._state.gateway.planner
        configured = trials_of(routing)
        stopped: frozenset[str] = frozenset()
        if configured:
            stopped = await in_thread(partial(self._stopped, routing, time.time()))
        planner.trials = Trials(configured, stopped)

    def _stopped(self, routing: RoutingSettings, now: float) -> frozenset[str]:
        database = self._state.store.database
        rules = {name: own.trial for name, own in routing.profiles.items()}
        about = feedback_version(database), rules
        if about != self._judged:
            judge(database, routing, now)
            self._judged = about
        trials = trials_of(routing).values()
        return frozenset(one.id for one in trials if stopped_at(database, one.id) is not None)


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


def judge(database: Database, routing: RoutingSettings, now: float) -> None:
    """Stops the trials that have gone wrong. One that is stopped stays so: its new models are not
    tried again before they, or its profile, have another name. Blocks. Raises StorageError."""
    standings = standings_of(database, routing)
    for profile, trial in trials_of(routing).items():
        found = standings[profile]
        if found.verdict == "worse" and stopped_at(database, trial.id) is None:
            document = {"stopped_at": now, **found.to_json()}
            put_state(database, _name(trial.id), orjson.dumps(document).decode(), now)
            _LOG.warning("trial of profile %s: stopped, the new models are worse", profile)


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
