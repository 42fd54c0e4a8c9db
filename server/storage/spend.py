"""What was spent, summed from the ledger: attempts, and the adjustments of reconciling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, case, delete, func, insert, select, update

from server.ledger.attempt import CostSource, usd
from server.storage.database import Database
from server.storage.rows import MICRO, micros
from server.storage.schema import adjustments, attempts

_DAY_US: Final = 86_400 * MICRO
_BY: Final = {
    "key": attempts.c.key_name,
    "model": attempts.c.model,
    "provider": attempts.c.provider,
    "outcome": attempts.c.outcome,
}
GROUPS: Final = (*_BY, "day")


@dataclass(frozen=True, slots=True)
class Spend:
    """Of one group. estimated_usd: the part of cost_usd that no provider has confirmed."""

    group: str
    attempts: int
    cost_usd: Decimal
    estimated_usd: Decimal
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Day:
    """What the ledger has of one upstream model on one day (UTC, by settlement)."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_pico: int = 0


def spend(database: Database, by: str, since: float, until: float) -> list[Spend]:
    """Settled in [since, until), by one of GROUPS, dearest first. Blocks. Raises StorageError."""
    group: Any = _BY.get(by)
    if group is None:
        group = attempts.c.settled_at.op("/")(_DAY_US)
    estimated = case(
        (attempts.c.cost_source == CostSource.ESTIMATE.value, attempts.c.cost_pico), else_=0
    )
    query = (
        select(
            group.label("spent_by"),
            func.count(),
            func.sum(attempts.c.cost_pico),
            func.sum(estimated),
            func.sum(attempts.c.prompt_tokens),
            func.sum(attempts.c.completion_tokens),
        )
        .where(attempts.c.settled_at >= micros(since), attempts.c.settled_at < micros(until))
        .group_by("spent_by")
    )
    with database.begin() as connection:
        rows = [_spend(row, by) for row in connection.execute(query)]
    return sorted(rows, key=lambda row: (-row.cost_usd, row.group))


def adjusted_usd(database: Database, since: float, until: float) -> Decimal:
    """What reconciling added to or took from these days' spend."""
    first, last = day_of(micros(since)), day_of(micros(until))
    query = select(func.sum(adjustments.c.cost_pico)).where(
        adjustments.c.day >= first, adjustments.c.day <= last
    )
    with database.begin() as connection:
        return usd(int(connection.execute(query).scalar() or 0))


def days(database: Database, provider: str, since_us: int, until_us: int) -> dict[Any, Day]:
    """(day, upstream model) -> what the ledger has of it."""
    day = attempts.c.settled_at.op("/")(_DAY_US).label("spent_on")
    query = (
        select(
            day,
            attempts.c.upstream_model,
            func.count(),
            func.sum(attempts.c.prompt_tokens),
            func.sum(attempts.c.completion_tokens),
            func.sum(attempts.c.cost_pico),
        )
        .where(_of(provider), attempts.c.settled_at >= since_us, attempts.c.settled_at < until_us)
        .where(attempts.c.cost_source != CostSource.NONE.value)
        .group_by("spent_on", attempts.c.upstream_model)
    )
    with database.begin() as connection:
        return {
            (day_of(int(row[0]) * _DAY_US), row[1]): Day(
                row[2], int(row[3] or 0), int(row[4] or 0), int(row[5] or 0)
            )
            for row in connection.execute(query)
        }


def known_ids(database: Database, provider: str, ids: list[str]) -> Iterator[tuple[str, int]]:
    """(the provider's own id of an answer, what the ledger has for it in picodollars)."""
    for start in range(0, len(ids), 500):
        query = select(attempts.c.upstream_id, attempts.c.cost_pico).where(
            _of(provider), attempts.c.upstream_id.in_(ids[start : start + 500])
        )
        with database.begin() as connection:
            yield from ((row[0], int(row[1] or 0)) for row in connection.execute(query).all())


def set_costs(database: Database, provider: str, costs: dict[str, int]) -> None:
    """The provider's word for single answers, by its id. Blocks. Raises StorageError."""
    with database.begin() as connection:
        for upstream_id, cost in costs.items():
            connection.execute(
                update(attempts)
                .where(_of(provider), attempts.c.upstream_id == upstream_id)
                .values(cost_pico=cost, cost_source=CostSource.RECONCILED.value)
            )


def known_adjustments(database: Database, provider: str) -> dict[str, int]:
    """id -> picodollars. Blocks. Raises StorageError."""
    query = select(adjustments.c.id, adjustments.c.cost_pico).where(
        adjustments.c.provider == provider
    )
    with database.begin() as connection:
        return {row[0]: int(row[1]) for row in connection.execute(query)}


def set_adjustments(database: Database, rows: list[dict[str, Any]]) -> None:
    """In place of earlier ones with the same id. Blocks. Raises StorageError."""
    with database.begin() as connection:
        for row in rows:
            connection.execute(delete(adjustments).where(adjustments.c.id == row["id"]))
            connection.execute(insert(adjustments), [row])


def day_of(moment_us: int) -> str:
    """The day (UTC) of a time in microseconds."""
    return datetime.fromtimestamp(moment_us / MICRO, UTC).date().isoformat()


def _of(provider: str) -> ColumnElement[bool]:
    return attempts.c.provider == provider


def _spend(row: Any, by: str) -> Spend:
    group = day_of(int(row[0]) * _DAY_US) if by == "day" else row[0]
    cost, estimated = usd(int(row[2] or 0)), usd(int(row[3] or 0))
    return Spend(group, row[1], cost, estimated, int(row[4] or 0), int(row[5] or 0))
