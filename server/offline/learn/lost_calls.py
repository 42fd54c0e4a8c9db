"""What became of calls whose process died: whether they may have been paid."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from decimal import Decimal
from typing import Final

from sqlalchemy import select

from server.ledger.attempt import Outcome, usd
from server.storage.database import Database
from server.storage.schema import attempts
from server.storage.store import Store

_AT_ONCE: Final = 500
# A call that ended so has cost nothing, where the ledger says so too.
_FREE: Final = frozenset(
    {Outcome.REJECTED.value, Outcome.RATE_LIMITED.value, Outcome.UNAVAILABLE.value}
)


async def was_paid(store: Store, request_id: str) -> bool:
    """Whether a call may have been paid: also where the database does not yet have all that is
    known of it. Raises StorageError."""
    if not await store.flush():
        return True
    paid, _ = await asyncio.to_thread(paid_of, store.database, {request_id})
    return request_id in paid


def paid_of(database: Database, request_ids: Collection[str]) -> tuple[set[str], Decimal]:
    """Returns (the requests that may have been paid, what those among them may still cost that the
    ledger has not closed yet). Blocks. Raises StorageError."""
    wanted, paid, open_usd = list(request_ids), set(), Decimal(0)
    for start in range(0, len(wanted), _AT_ONCE):
        query = select(
            attempts.c.request_id,
            attempts.c.outcome,
            attempts.c.cost_pico,
            attempts.c.reserved_pico,
        ).where(attempts.c.request_id.in_(wanted[start : start + _AT_ONCE]))
        with database.begin() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            if row.outcome == Outcome.OPEN.value:
                open_usd += usd(row.reserved_pico)
            if row.outcome not in _FREE or (row.cost_pico or 0) > 0:
                paid.add(row.request_id)
    return paid, open_usd
