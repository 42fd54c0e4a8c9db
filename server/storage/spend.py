"""Computes spend from the ledger: attempts, and the adjustments from reconciling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    Text,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    union_all,
    update,
)

from server.ledger.attempt import CostSource, usd
from server.storage.database import Database
from server.storage.pruning import DAY_US
from server.storage.rows import MICRO, micros
from server.storage.schema import adjustments, attempts, totals
from server.storage.tags import sums_by_tag

_BY: Final = {
    "key": "key_name",
    "model": "model",
    "provider": "provider",
    "outcome": "outcome",
}
GROUPS: Final = (*_BY, "day", "tag", "session")
UNTAGGED: Final = "(no tag)"
# Sessions are named by a keyed hash, and only where they have a name or a budget.
NO_SESSION: Final = "(no session)"
TAGS_OVERLAP: Final = (
    "a request with several tags is counted under each of them, and once in the total"
)


@dataclass(frozen=True, slots=True)
class Spend:
    """The spend of one group. estimated_usd: the part of cost_usd that no provider has
    confirmed."""

    group: str
    attempts: int
    cost_usd: Decimal
    estimated_usd: Decimal
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Day:
    """The ledger's totals for one upstream model on one day (UTC, by settlement)."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_pico: int = 0


def spend(database: Database, by: str, since: float, until: float) -> list[Spend]:
    """What was settled in [since, until) by one of GROUPS, most expensive first. Days whose
    attempts are no longer stored are included where the interval touches them. By tag, an attempt
    may be in several groups. Blocks. Raises StorageError."""
    since_us, until_us = micros(since), micros(until)
    if by == "tag":
        found = sums_by_tag(database, since_us, until_us).items()
        return _dearest_first([_of_tag(tag, sums) for tag, sums in found])
    parts = (
        _sums(attempts, by).where(
            attempts.c.settled_at >= since_us, attempts.c.settled_at < until_us
        ),
        _sums(totals, by).where(*_touched(since_us, until_us)),
    )
    with database.begin() as connection:
        rows = [_spend(row, by) for row in connection.execute(_together(parts, 1))]
    return _dearest_first(rows)


def spent_usd(database: Database, since: float, until: float) -> Decimal:
    """Everything that was settled in this time, each attempt once. Blocks. Raises StorageError."""
    return sum((row.cost_usd for row in spend(database, "provider", since, until)), Decimal(0))


def _dearest_first(rows: list[Spend]) -> list[Spend]:
    return sorted(rows, key=lambda row: (-row.cost_usd, row.group))


def _of_tag(tag: str | None, sums: tuple[int, ...]) -> Spend:
    n_attempts, cost, estimated, prompt_tokens, completion_tokens = sums
    group = UNTAGGED if tag is None else tag
    return Spend(group, n_attempts, usd(cost), usd(estimated), prompt_tokens, completion_tokens)


def _sums(table: Table, by: str) -> Select[Any]:
    """Sums over attempts or totals: the group, the number, the cost, its estimated part, and
    tokens."""
    group: Any = table.c[_BY[by]] if by in _BY else _day(table)
    if by == "session":
        none: Any = literal_column(f"'{NO_SESSION}'", Text)
        group = func.coalesce(table.c.session, none) if table is attempts else none
    is_estimate = table.c.cost_source == CostSource.ESTIMATE.value
    return select(
        group.label("spent_by"),
        _count(table),
        func.sum(table.c.cost_pico).label("cost"),
        func.sum(case((is_estimate, table.c.cost_pico), else_=0)).label("estimated"),
        func.sum(table.c.prompt_tokens).label("prompt_tokens"),
        func.sum(table.c.completion_tokens).label("completion_tokens"),
    ).group_by("spent_by")


def _together(parts: Sequence[Select[Any]], n_keys: int) -> Select[Any]:
    """Sums of sums, in one statement: an attempt that becomes part of a total meanwhile is counted
    once. The first n_keys columns identify the groups."""
    all_of_them = union_all(*parts).subquery()
    keys, sums = list(all_of_them.c)[:n_keys], list(all_of_them.c)[n_keys:]
    return select(*keys, *(func.sum(column) for column in sums)).group_by(*keys)


def _count(table: Table) -> ColumnElement[Any]:
    n_attempts = func.count() if table is attempts else func.sum(table.c.attempts)
    return n_attempts.label("n_attempts")


def _day(table: Table) -> ColumnElement[Any]:
    """The day since 1970. Exact whole-number division in both databases."""
    day: ColumnElement[Any] = (
        table.c.settled_at.op("/")(DAY_US) if table is attempts else table.c.day
    )
    return day


def _touched(since_us: int, until_us: int) -> tuple[ColumnElement[bool], ...]:
    """Selects the totals of days that are in this time, or partly so."""
    return totals.c.day >= since_us // DAY_US, totals.c.day * DAY_US < until_us


def key_balance(database: Database, key_name: str, since: float) -> tuple[Decimal, Decimal]:
    """What a key has spent since then, and what is reserved for its requests in progress, in USD.
    Blocks. Raises StorageError."""
    of_key = attempts.c.key_name == key_name
    settled = select(func.sum(attempts.c.cost_pico)).where(
        of_key, attempts.c.settled_at >= micros(since)
    )
    under_way = select(func.sum(attempts.c.reserved_pico)).where(
        of_key, attempts.c.settled_at.is_(None)
    )
    with database.begin() as connection:
        sums = [connection.execute(query).scalar() for query in (settled, under_way)]
    return usd(int(sums[0] or 0)), usd(int(sums[1] or 0))


def adjusted_usd(database: Database, since: float, until: float) -> Decimal:
    """The amount by which reconciling changed these days' spend."""
    first, last = day_of(micros(since)), day_of(micros(until))
    query = select(func.sum(adjustments.c.cost_pico)).where(
        adjustments.c.day >= first, adjustments.c.day <= last
    )
    with database.begin() as connection:
        return usd(int(connection.execute(query).scalar() or 0))


def days(database: Database, provider: str, since_us: int, until_us: int) -> dict[Any, Day]:
    """The ledger's totals by (day, upstream model)."""
    parts = (
        _of_day(attempts, provider).where(
            attempts.c.settled_at >= since_us, attempts.c.settled_at < until_us
        ),
        _of_day(totals, provider).where(*_touched(since_us, until_us)),
    )
    with database.begin() as connection:
        return {
            (day_of(int(row[0]) * DAY_US), row[1]): Day(
                int(row[2]), int(row[3] or 0), int(row[4] or 0), int(row[5] or 0)
            )
            for row in connection.execute(_together(parts, 2))
        }


def _of_day(table: Table, provider: str) -> Select[Any]:
    return (
        select(
            _day(table).label("spent_on"),
            table.c.upstream_model,
            _count(table),
            func.sum(table.c.prompt_tokens).label("prompt_tokens"),
            func.sum(table.c.completion_tokens).label("completion_tokens"),
            func.sum(table.c.cost_pico).label("cost"),
        )
        .where(table.c.provider == provider, table.c.cost_source != CostSource.NONE.value)
        .group_by("spent_on", table.c.upstream_model)
    )


def last_total_day(database: Database, provider: str) -> str:
    """The last day (UTC) whose attempts are no longer stored; empty where all are stored. Blocks.
    Raises StorageError."""
    query = select(func.max(totals.c.day)).where(totals.c.provider == provider)
    with database.begin() as connection:
        day = connection.execute(query).scalar()
    return "" if day is None else day_of(int(day) * DAY_US)


def known_ids(database: Database, provider: str, ids: list[str]) -> Iterator[tuple[str, int]]:
    """Yields (the provider's own id of an answer, its cost in the ledger in picodollars)."""
    for start in range(0, len(ids), 500):
        query = select(attempts.c.upstream_id, attempts.c.cost_pico).where(
            _of(provider), attempts.c.upstream_id.in_(ids[start : start + 500])
        )
        with database.begin() as connection:
            yield from ((row[0], int(row[1] or 0)) for row in connection.execute(query).all())


def set_costs(database: Database, provider: str, costs: dict[str, int]) -> None:
    """Sets the costs of single answers to the provider's, by its ids. Blocks. Raises
    StorageError."""
    with database.begin() as connection:
        for upstream_id, cost in costs.items():
            connection.execute(
                update(attempts)
                .where(_of(provider), attempts.c.upstream_id == upstream_id)
                .values(cost_pico=cost, cost_source=CostSource.RECONCILED.value)
            )


@dataclass(frozen=True, slots=True)
class Adjustment:
    """An adjustment from reconciling, in picodollars, for one answer or for one model on one
    day."""

    day: str
    model: str
    cost_pico: int


def known_adjustments(database: Database, provider: str) -> dict[str, Adjustment]:
    """The adjustments by id. Blocks. Raises StorageError."""
    query = select(
        adjustments.c.id, adjustments.c.day, adjustments.c.model, adjustments.c.cost_pico
    ).where(adjustments.c.provider == provider)
    with database.begin() as connection:
        return {row[0]: Adjustment(*row[1:3], int(row[3])) for row in connection.execute(query)}


def set_adjustments(database: Database, rows: list[dict[str, Any]]) -> None:
    """Stores adjustments; they replace earlier ones with the same ids. Blocks. Raises
    StorageError."""
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
    group = day_of(int(row[0]) * DAY_US) if by == "day" else row[0]
    cost, estimated = usd(int(row[2] or 0)), usd(int(row[3] or 0))
    return Spend(group, int(row[1]), cost, estimated, int(row[4] or 0), int(row[5] or 0))
