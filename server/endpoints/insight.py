"""The dashboard's data on models, learning and settings, as JSON, for admins."""

from __future__ import annotations

from fastapi import APIRouter, Response

from server.dashboard.in_force import settings_in_force
from server.dashboard.learning import learning
from server.dashboard.models import known_models
from server.endpoints.common import json_response
from server.endpoints.overview import AdminDep, listed, read_stored
from server.tasks.judge_trials import trials_json

router = APIRouter(prefix="/admin")


@router.get("/models")
async def models(state: AdminDep) -> Response:
    """Each model's place on the leaderboard, what it rests on, its cost in the last 30 days, and
    when it ends."""
    return listed(await read_stored(state, lambda: known_models(state)))


@router.get("/learning")
async def learnt(state: AdminDep) -> Response:
    """What is learnt from answers of this gateway, and how many were seen of each model."""
    found = await read_stored(state, lambda: learning(state))
    return json_response(found, {"cache-control": "no-store"})


@router.get("/trials")
async def trials(state: AdminDep) -> Response:
    """The trials of new models, and where they stand."""
    database, routing = state.store.database, state.settings.routing
    return listed(await read_stored(state, lambda: trials_json(database, routing)))


@router.get("/settings")
async def settings(state: AdminDep) -> Response:
    """The settings in force, and which of them the configuration sets. No secrets."""
    return listed(settings_in_force(state.settings))
