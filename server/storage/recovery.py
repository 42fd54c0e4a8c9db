"""Recovers what dead processes left: writes their spooled records, and closes their open attempts
as lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from server.config.settings.unknown_cost import UnknownCost
from server.ledger.attempt import CostSource, Outcome
from server.storage.batch import write
from server.storage.database import Database
from server.storage.rows import micros
from server.storage.schema import attempts, instances
from server.storage.spool import Orphan, Record, orphans
from server.storage.statements import statements

_LOG: Final = logging.getLogger(__name__)
_BATCH: Final = 2_000
# A process that has given no sign of life for this many seconds is taken for dead.
LOST_AFTER_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt whose process died. cost_pico: the cost that is assumed, in picodollars.
    reserved_pico: what was reserved for it. session: see Attempt."""

    request_id: str
    attempt: int
    key_name: str
    cost_pico: int
    reserved_pico: int = 0
    session: str | None = None


@dataclass(slots=True)
class Adopted:
    """The records of dead processes. n_rejected: records that no database accepts or that cannot be
    read."""

    lost: list[Lost] = field(default_factory=list)
    n_rejected: int = 0


def adopt(database: Database, folder: Path, policy: UnknownCost, now: float) -> Adopted:
    """Writes the records that dead processes have spooled here, and closes their open attempts.

    Raises StorageError, OSError; unwritten records are left for the next try.
    """
    adopted = Adopted()
    for orphan in orphans(folder):
        try:
            n_records, n_rejected = _replay(database, orphan)
            with database.begin() as connection:
                adopted.lost += _lose(
                    connection, attempts.c.instance == orphan.instance, policy, now
                )
                connection.execute(delete(instances).where(instances.c.instance == orphan.instance))
        except BaseException:
            orphan.release()
            raise
        orphan.remove()
        adopted.n_rejected += n_rejected
        if n_records:
            _LOG.warning("storage: %d records of a process that had died were recovered", n_records)
        if orphan.n_damaged:
            _LOG.error("storage: %d of its records cannot be read", orphan.n_damaged)
    return adopted


def close_stale(database: Database, policy: UnknownCost, now: float, own: str) -> list[Lost]:
    """Closes the attempts of processes that have not been seen for a while, on whichever machine.
    own: this process, which lives even where its clock was just set forward."""
    cutoff = micros(now - LOST_AFTER_S)
    alive = select(instances.c.instance).where(instances.c.seen_at >= cutoff)
    others = and_(attempts.c.instance.not_in(alive), attempts.c.instance != own)
    stale = and_(others, attempts.c.started_at < cutoff)
    with database.begin() as connection:
        lost = _lose(connection, stale, policy, now)
        connection.execute(delete(instances).where(instances.c.seen_at < cutoff - 10**6 * 3600))
    return lost


def _lose(
    connection: Connection, which: ColumnElement[bool], policy: UnknownCost, now: float
) -> list[Lost]:
    cost: Any = 0
    if policy is not UnknownCost.ZERO:
        expected = policy is UnknownCost.EXPECTED
        cost = attempts.c.expected_pico if expected else attempts.c.reserved_pico
    found = connection.execute(
        update(attempts)
        .where(attempts.c.settled_at.is_(None), which)
        .values(
            outcome=Outcome.LOST.value,
            settled_at=micros(now),
            cost_pico=cost,
            cost_source=CostSource.ESTIMATE.value,
        )
        .returning(
            *(attempts.c.request_id, attempts.c.attempt, attempts.c.key_name),
            *(attempts.c.cost_pico, attempts.c.reserved_pico, attempts.c.session),
        )
    )
    lost = [Lost(row[0], row[1], row[2], row[3] or 0, row[4], row[5]) for row in found]
    if lost:
        _LOG.warning(
            "storage: %d attempts of processes that had died are billed by estimate", len(lost)
        )
    return lost


def _replay(database: Database, orphan: Orphan) -> tuple[int, int]:
    """Returns the number of records, and the number of those that were rejected."""
    known = statements(database.engine.dialect)
    n_records = n_refused = 0
    for batch in _batches(orphan.records()):
        n_records += len(batch)
        n_refused += len(write(database, known, batch))
    return n_records, n_refused + orphan.n_damaged


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    rest = iter(records)
    while batch := list(islice(rest, _BATCH)):
        yield batch
