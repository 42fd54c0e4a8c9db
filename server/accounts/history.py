"""Reads from the ledger what was spent in a window before this process began to count."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Select, and_, case, cast, func, select, union_all

from server.ledger.attempt import Outcome
from server.ledger.window import WindowSpec
from server.storage.database import Database
from server.storage.pruning import DAY_US
from server.storage.schema import attempts, totals

_PICO_PER_NANO = 1_000


def spent_slices(database: Database, spec: WindowSpec, now_us: int) -> list[tuple[int, int]]:
    """Returns (number of the slice, nanodollars), in order. A day whose attempts are no longer
    stored counts as spent at its end: it leaves the window too late, never too early. Blocks.
    Raises StorageError."""
    if spec.session is not None:
        return _of_session(database, spec.session)
    # One statement: an attempt that becomes part of a total meanwhile is counted once.
    both = union_all(_of_attempts(spec, now_us), _of_totals(spec, now_us)).subquery()
    query = (
        select(both.c.slice, func.sum(both.c.cost)).group_by(both.c.slice).order_by(both.c.slice)
    )
    with database.begin() as connection:
        rows = connection.execute(query).all()
    return [(int(row[0]), -(-int(row[1]) // _PICO_PER_NANO)) for row in rows]


def _of_session(database: Database, session: str) -> list[tuple[int, int]]:
    """The spend of a session. A reservation of a process that died is counted in full."""
    lost = attempts.c.outcome == Outcome.LOST.value
    reserved, cost = attempts.c.reserved_pico, func.coalesce(attempts.c.cost_pico, 0)
    taken = case((and_(lost, reserved > cost), reserved), else_=cost)
    query = select(func.sum(taken)).where(
        attempts.c.session == session, attempts.c.settled_at.is_not(None)
    )
    with database.begin() as connection:
        spent = connection.execute(query).scalar()
    return [(0, -(-int(spent) // _PICO_PER_NANO))] if spent else []


def _of_attempts(spec: WindowSpec, now_us: int) -> Select[Any]:
    query = _by_slice(spec, attempts.c.settled_at, attempts.c.cost_pico).where(
        attempts.c.settled_at.is_not(None), attempts.c.cost_pico.is_not(None)
    )
    if spec.window_s is not None:
        query = query.where(attempts.c.settled_at > _since_us(spec, now_us))
    return query if spec.key_name is None else query.where(attempts.c.key_name == spec.key_name)


def _of_totals(spec: WindowSpec, now_us: int) -> Select[Any]:
    end_us = (totals.c.day + 1) * DAY_US - 1
    query = _by_slice(spec, end_us, totals.c.cost_pico)
    if spec.window_s is not None:
        query = query.where(end_us > _since_us(spec, now_us))
    return query if spec.key_name is None else query.where(totals.c.key_name == spec.key_name)


def _by_slice(spec: WindowSpec, moment_us: Any, cost: Any) -> Select[Any]:
    # Exact whole-number division in both databases.
    index = moment_us.op("/")(spec.slice_us) if spec.slice_us else cast(0, BigInteger)
    return select(index.label("slice"), func.sum(cost).label("cost")).group_by("slice")


def _since_us(spec: WindowSpec, now_us: int) -> int:
    return now_us - ((spec.window_s or 0) * 1_000_000 + spec.slice_us)
