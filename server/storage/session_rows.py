"""Reads the ledger's data on sessions: the key of their hashes, and the budgets that were given."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import select

from server.storage.database import Database
from server.storage.schema import attempts
from server.storage.states import first_state

SESSION_KEY: Final = "session key"
# The number of attempts that are searched.
_MOST: Final = 200_000


def session_key(database: Database) -> str:
    """The key in hexadecimal; it is created when first asked for. Blocks. Raises StorageError."""
    return first_state(database, SESSION_KEY, secrets.token_hex(32))


def given_budgets(database: Database, since_us: int) -> dict[str, int]:
    """The budget in picodollars that a caller last gave each session, by the session's hash, the
    latest last. Blocks. Raises StorageError."""
    given = attempts.c.session_budget_pico
    query = (
        select(attempts.c.session, given)
        .where(given.is_not(None), attempts.c.started_at >= since_us)
        .order_by(attempts.c.started_at.desc())
        .limit(_MOST)
    )
    with database.begin() as connection:
        rows = connection.execute(query).all()
    found: dict[str, int] = {}
    for session, budget_pico in reversed(rows):
        found.pop(session, None)
        found[session] = budget_pico
    return found
