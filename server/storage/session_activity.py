"""Reads from the ledger what sessions have done lately, for the dashboard. Sessions are named by
keyed hashes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, select

from server.ledger.attempt import Outcome
from server.storage.database import Database
from server.storage.rows import MICRO, micros
from server.storage.schema import attempts

# Of the latest attempts, this many are searched for sessions.
_SEARCHED: Final = 5_000
_IS_ANSWER: Final = attempts.c.outcome == Outcome.ANSWERED.value


@dataclass(frozen=True, slots=True)
class SessionActivity:
    """What the ledger has of one session. Times in seconds since 1970, money in picodollars.

    models: the number of answers of each model, the most frequent first. changes: how often an
    answer came from another model than the one before it. taken_pico: what counts as spent in its
    budget, where a reservation of a process that died counts in full. given_pico: the budget that a
    request gave last. under_way: the number of requests in progress.
    """

    session: str
    key_name: str
    first_at: float
    last_at: float
    requests: int
    under_way: int
    cost_pico: int
    taken_pico: int
    prompt_tokens: int
    cached_tokens: int
    models: tuple[tuple[str, int], ...]
    changes: int
    given_pico: int | None


def recent_sessions(database: Database, since: float, limit: int) -> list[SessionActivity]:
    """The sessions that were used last, the latest first. Only those with a name or a budget are in
    the ledger. Blocks. Raises StorageError."""
    with database.begin() as connection:
        names = _latest(connection, micros(since))[:limit]
        if not names:
            return []
        rows = connection.execute(_sums(names)).all()
        models = _models(connection, names)
        changes = {name: int(n) for name, n in connection.execute(_changes(names))}
        given = _given(connection, names)
    found = [
        _activity(row, models[row.session], changes.get(row.session, 0), given.get(row.session))
        for row in rows
    ]
    return sorted(found, key=lambda one: one.last_at, reverse=True)


def _latest(connection: Connection, since_us: int) -> list[str]:
    """The names of the sessions of the latest attempts, the latest first."""
    has_session = attempts.c.session.is_not(None)
    # Two queries, each along an index: see recent_attempts.
    under_way = select(attempts.c.session).where(attempts.c.settled_at.is_(None), has_session)
    settled = (
        select(attempts.c.session)
        .where(attempts.c.settled_at >= since_us, has_session)
        .order_by(attempts.c.settled_at.desc())
    )
    found: dict[str, None] = {}
    for query in (under_way, settled):
        found |= dict.fromkeys(connection.execute(query.limit(_SEARCHED)).scalars())
    return list(found)


def _sums(names: Sequence[str]) -> Any:
    lost = attempts.c.outcome == Outcome.LOST.value
    cost, reserved = func.coalesce(attempts.c.cost_pico, 0), attempts.c.reserved_pico
    taken = case((and_(lost, reserved > cost), reserved), else_=cost)
    return (
        select(
            attempts.c.session,
            func.min(attempts.c.key_name).label("key_name"),
            func.min(attempts.c.started_at).label("first_us"),
            func.max(attempts.c.started_at).label("last_us"),
            func.count(attempts.c.request_id.distinct()).label("requests"),
            func.sum(case((attempts.c.settled_at.is_(None), 1), else_=0)).label("under_way"),
            func.sum(cost).label("cost"),
            func.sum(taken).label("taken"),
            func.sum(func.coalesce(attempts.c.prompt_tokens, 0)).label("prompt_tokens"),
            func.sum(func.coalesce(attempts.c.cached_tokens, 0)).label("cached_tokens"),
        )
        .where(_among(names))
        .group_by(attempts.c.session)
    )


def _models(connection: Connection, names: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    query = (
        select(attempts.c.session, attempts.c.model, func.count().label("n"))
        .where(_among(names), _IS_ANSWER)
        .group_by(attempts.c.session, attempts.c.model)
        .order_by(func.count().desc(), attempts.c.model)
    )
    found: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for session, model, n in connection.execute(query):
        found[session].append((model, int(n)))
    return found


def _changes(names: Sequence[str]) -> Any:
    order = attempts.c.started_at, attempts.c.request_id, attempts.c.attempt
    before = func.lag(attempts.c.model).over(partition_by=attempts.c.session, order_by=order)
    answers = (
        select(attempts.c.session, attempts.c.model, before.label("before"))
        .where(_among(names), _IS_ANSWER)
        .subquery()
    )
    return (
        select(answers.c.session, func.count())
        .where(answers.c.before != answers.c.model)
        .group_by(answers.c.session)
    )


def _given(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """The budget that a request gave each session last."""
    given = attempts.c.session_budget_pico
    last = func.max(attempts.c.started_at).over(partition_by=attempts.c.session)
    rows = (
        select(attempts.c.session, given.label("given"), attempts.c.started_at, last.label("last"))
        .where(_among(names), given.is_not(None))
        .subquery()
    )
    query = select(rows.c.session, rows.c.given).where(rows.c.started_at == rows.c.last)
    return {session: int(pico) for session, pico in connection.execute(query)}


def _among(names: Sequence[str]) -> ColumnElement[bool]:
    return attempts.c.session.in_(names)


def _activity(
    row: Row[Any], models: Sequence[tuple[str, int]], changes: int, given: int | None
) -> SessionActivity:
    return SessionActivity(
        session=row.session,
        key_name=row.key_name,
        first_at=int(row.first_us) / MICRO,
        last_at=int(row.last_us) / MICRO,
        requests=int(row.requests),
        under_way=int(row.under_way),
        cost_pico=int(row.cost),
        taken_pico=int(row.taken),
        prompt_tokens=int(row.prompt_tokens),
        cached_tokens=int(row.cached_tokens),
        models=tuple(models),
        changes=changes,
        given_pico=given,
    )
