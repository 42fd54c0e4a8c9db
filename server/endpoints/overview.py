"""The dashboard's data as JSON. Where keys are configured, an admin's key is needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from server.dashboard import views
from server.dashboard.savings import savings
from server.dashboard.sessions import session_json
from server.endpoints.common import StateDep, check_dashboard, json_response
from server.errors import OverloadedError
from server.state import State
from server.storage.activity import (
    Wanted,
    answered_receipts,
    recent_attempts,
    recent_receipts,
)
from server.storage.errors import StorageError
from server.storage.session_activity import recent_sessions
from server.storage.spend import TAGS_OVERLAP, adjusted_usd, spend, spent_usd

T = TypeVar("T")
_DAY_S: Final = 86_400
_NO_STORE: Final = {"cache-control": "no-store"}
# Receipts are documents of a few kilobytes: at most this many are read for a comparison.
_MOST_COMPARED: Final = 1000


async def admin_state(request: Request, state: StateDep) -> State:
    """The application's state, for an admin. Raises AuthenticationError, ForbiddenError."""
    check_dashboard(request, state)
    return state


router = APIRouter(prefix="/admin")
AdminDep = Annotated[State, Depends(admin_state)]
Days = Annotated[int, Query(ge=1, le=3660)]
Limit = Annotated[int, Query(ge=1, le=200)]
# The range of a database column.
Microseconds = Annotated[int, Query(ge=0, le=2**63 - 1)]


@router.get("/overview")
async def overview(state: AdminDep) -> Response:
    """The current state of models, breakers, providers and windows."""
    now = views.overview(state)
    stored = await read_stored(state, lambda: (views.providers(state), views.windows(state)))
    return json_response({**now, "providers": stored[0], "windows": stored[1]}, _NO_STORE)


@router.get("/requests")
async def requests(
    state: AdminDep,
    limit: Limit = 50,
    key: str | None = None,
    model: str | None = None,
    outcome: str | None = None,
) -> Response:
    """The latest attempts at providers, those in progress first. key, model, outcome: only those;
    the outcome of an attempt in progress is open."""
    wanted = Wanted(key, model, outcome)
    rows = await read_stored(state, lambda: recent_attempts(state.store.database, limit, wanted))
    return listed([views.attempt_json(row) for row in rows])


@router.get("/sessions")
async def sessions(state: AdminDep, days: Days = 7, limit: Limit = 50) -> Response:
    """The sessions that were used last, by a keyed hash of their names: requests, models and their
    changes, cost, the share of input tokens that was read from a cache, and what is left of the
    budget. Only sessions with a name or a budget are known to the ledger."""
    since = time.time() - days * _DAY_S
    found = await read_stored(state, lambda: recent_sessions(state.store.database, since, limit))
    return listed([session_json(state, one) for one in found])


@router.get("/receipts")
async def receipts(
    state: AdminDep, limit: Limit = 25, before_us: Microseconds | None = None
) -> Response:
    """A summary of each of the latest receipts. before_us: only those created earlier than this, in
    microseconds since 1970."""
    found = await read_stored(
        state, lambda: recent_receipts(state.store.database, before_us, limit)
    )
    return listed([views.receipt_json(document) for document in found])


@router.get("/spend")
async def spent(
    state: AdminDep,
    by: Literal["key", "model", "provider", "outcome", "day", "tag", "session"] = "key",
    days: Days = 30,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Response:
    """The settled spend of the last days by one group, the most expensive groups first. groups:
    their number; data: at most `limit` of them. Sessions are named by a keyed hash, where they have
    a name or a budget."""
    until = time.time() + 1
    since = until - days * _DAY_S
    database = state.store.database
    rows, adjusted, total = await read_stored(
        state,
        lambda: (
            spend(database, by, since, until),
            adjusted_usd(database, since, until),
            spent_usd(database, since, until),
        ),
    )
    data = [
        {
            "group": row.group,
            "attempts": row.attempts,
            "cost_usd": float(row.cost_usd),
            "estimated_usd": float(row.estimated_usd),
            "tokens": row.prompt_tokens + row.completion_tokens,
        }
        for row in rows[:limit]
    ]
    shown = {
        "groups": len(rows),
        "total_usd": float(total + adjusted),
        "adjustments_usd": float(adjusted),
    }
    note = {"note": TAGS_OVERLAP} if by == "tag" else {}
    return json_response({"object": "list", "by": by, **shown, **note, "data": data}, _NO_STORE)


@router.get("/savings")
async def saved(state: AdminDep, days: Days = 30) -> Response:
    """Compares the last routed requests with always asking the best model, in all and by day."""
    since = time.time() - days * _DAY_S
    database = state.store.database
    return json_response(
        await read_stored(
            state, lambda: savings(answered_receipts(database, since, _MOST_COMPARED))
        ),
        _NO_STORE,
    )


async def read_stored(state: State, query: Callable[[], T]) -> T:
    """Runs a query outside the event loop. Raises OverloadedError."""
    await state.store.flush()  # recent attempts may still be on their way to the database
    try:
        return await asyncio.to_thread(query)
    except StorageError:
        raise OverloadedError("The storage is not available just now.") from None


def listed(data: list[dict[str, Any]]) -> Response:
    """A list as JSON that nobody keeps."""
    return json_response({"object": "list", "data": data}, _NO_STORE)
