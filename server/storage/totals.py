"""Replaces attempts that are too old to be kept by daily totals: spend is never forgotten."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, select, tuple_, update

from server.ledger.attempt import Outcome
from server.storage.database import Database
from server.storage.pruning import DAY_S, DAY_US, MOST_AT_ONCE
from server.storage.schema import attempts, receipts, totals
from server.storage.statements import insert_of
from server.storage.tags import add_tag_totals

_KEY: Final = tuple(totals.primary_key.columns.keys())
_SUMS: Final = tuple(column.name for column in totals.columns if not column.primary_key)
_DELETED: Final = (
    attempts.c.request_id,
    attempts.c.settled_at,
    attempts.c.tags,
    *(attempts.c[name] for name in _KEY if name != "day"),
    *(attempts.c[name] for name in _SUMS if name != "attempts"),
)


def fold_attempts(
    database: Database, days: int | None, now: float, most: int = MOST_AT_ONCE
) -> int:
    """Deletes attempts that were settled more than this many days ago (None: none), whole days
    (UTC) only, and adds them to their totals, in one transaction; returns their number. Blocks.
    Raises StorageError."""
    if days is None:
        return 0
    before_us = int(now // DAY_S - days) * DAY_US
    identity = tuple_(attempts.c.request_id, attempts.c.attempt)
    old = (
        select(attempts.c.request_id, attempts.c.attempt)
        .where(attempts.c.settled_at < before_us)
        .limit(most)
        # In PostgreSQL another gateway may be folding the same rows: those are left to it.
        .with_for_update(skip_locked=True)
    )
    statement = delete(attempts).where(identity.in_(old)).returning(*_DELETED)
    with database.begin() as connection:
        # Exactly the deleted rows are added, whoever else works on them.
        found = connection.execute(statement).all()
        if found:
            _add(connection, found)
            add_tag_totals(connection, found)
            _note_at_receipts(connection, found)
    return len(found)


def _add(connection: Connection, found: Iterable[Row[Any]]) -> None:
    sums: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(_SUMS))
    for row in found:
        key = tuple(
            row.settled_at // DAY_US if name == "day" else getattr(row, name) for name in _KEY
        )
        total = sums[key]
        for place, name in enumerate(_SUMS):
            total[place] += 1 if name == "attempts" else getattr(row, name) or 0
    made = insert_of(connection.dialect)(totals)
    more = {name: totals.c[name] + made.excluded[name] for name in _SUMS}
    statement = made.on_conflict_do_update(index_elements=_KEY, set_=more)
    # Sorted: two gateways that add to the same totals must not deadlock.
    rows = [dict(zip((*_KEY, *_SUMS), (*key, *sums[key]), strict=True)) for key in sorted(sums)]
    connection.execute(statement, rows)


def _note_at_receipts(connection: Connection, found: Iterable[Row[Any]]) -> None:
    """Adds to each stored receipt the cost of its attempts and whether one was answered."""
    cost: defaultdict[str, int] = defaultdict(int)
    answered: set[str] = set()
    for row in found:
        cost[row.request_id] += row.cost_pico or 0
        if row.outcome == Outcome.ANSWERED.value:
            answered.add(row.request_id)
    noted = receipts.c.folded_pico, receipts.c.folded_answered
    kept = select(receipts.c.request_id, *noted).where(receipts.c.request_id.in_(cost))
    rows = [
        {
            "id": row.request_id,
            "pico": (row.folded_pico or 0) + cost[row.request_id],
            "answered": bool(row.folded_answered) or row.request_id in answered,
        }
        for row in connection.execute(kept)
    ]
    statement = (
        update(receipts)
        .where(receipts.c.request_id == bindparam("id"))
        .values(folded_pico=bindparam("pico"), folded_answered=bindparam("answered"))
    )
    if rows:
        connection.execute(statement, rows)
