"""Whether the gateway is there, and ready: never behind a key."""

from __future__ import annotations

from fastapi import APIRouter, Response

from server.endpoints.common import StateDep, json_response
from server.errors import OverloadedError
from server.process.background import why_not_ready

router = APIRouter()


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


@router.get("/api/hello", include_in_schema=False)
async def hello() -> Response:
    """What Claude Code asks for before its first request."""
    return json_response({"message": "hello"})


@router.get("/readyz")
async def readyz(state: StateDep) -> Response:
    """Requests would be served. Raises OverloadedError before start-up is over, at the end, while
    no leaderboard has a name yet, while spend cannot be recorded, and while work in the background
    that requests rest on (the message names it) has not succeeded for too long."""
    stopping = state.gateway.admission.draining
    if stopping or not state.ready or not state.gateway.planner.scorer.models:
        raise OverloadedError("not ready")
    if state.store.failure is not None:
        raise OverloadedError("the storage cannot be written")
    late = why_not_ready(state.jobs)
    if late is not None:
        raise OverloadedError(late)
    return json_response({"status": "ready"})
