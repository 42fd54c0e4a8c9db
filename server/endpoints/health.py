"""Liveness and readiness of the gateway; these endpoints need no key."""

from __future__ import annotations

from fastapi import APIRouter, Response

from server.endpoints.common import StateDep, json_response
from server.errors import OverloadedError
from server.process.background import why_not_ready

router = APIRouter()


@router.get("/healthz")
async def healthz() -> Response:
    """Answers as long as the process runs."""
    return json_response({"status": "ok"})


@router.get("/api/hello", include_in_schema=False)
async def hello() -> Response:
    """Answers the probe that Claude Code sends before its first request."""
    return json_response({"message": "hello"})


@router.get("/readyz")
async def readyz(state: StateDep) -> Response:
    """Answers 200 where the gateway is ready for requests. Raises OverloadedError before start-up
    is over, during shutdown, while no leaderboard has a name yet, while spend cannot be recorded,
    and while background work that requests depend on (the message names it) has failed for too
    long."""
    stopping = state.gateway.admission.draining
    if stopping or not state.ready or not state.gateway.planner.scorer.models:
        raise OverloadedError("not ready")
    if state.store.failure is not None:
        raise OverloadedError("the storage cannot be written to")
    late = why_not_ready(state.jobs)
    if late is not None:
        raise OverloadedError(late)
    return json_response({"status": "ready"})
