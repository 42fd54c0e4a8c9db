"""Reads recent attempts, outcomes and receipts for the dashboard. No prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Row, Select, exists, func, or_, select

from router.receipt_form import unfold_attempts
from server.ledger.attempt import Outcome
from server.storage.database import Database
from server.storage.receipts import DAMAGED
from server.storage.rows import micros
from server.storage.schema import attempts, receipts

_SHOWN: Final = (
    attempts.c.request_id,
    attempts.c.attempt,
    attempts.c.key_name,
    attempts.c.model,
    attempts.c.provider,
    attempts.c.tags,
    attempts.c.routed,
    attempts.c.streamed,
    attempts.c.started_at,
    attempts.c.settled_at,
    attempts.c.outcome,
    attempts.c.cost_pico,
    attempts.c.cost_source,
    attempts.c.expected_pico,
    attempts.c.budget_pico,
    attempts.c.budget_mode,
    attempts.c.latency_ms,
    attempts.c.prompt_tokens,
    attempts.c.completion_tokens,
)
_NEITHER: Final = (Outcome.REJECTED.value, Outcome.CANCELLED.value)


class _Outcome(NamedTuple):
    n: int
    mean_latency_ms: float | None


@dataclass(frozen=True, slots=True)
class ProviderOutcomes:
    """The outcomes of one provider since some time. mean_latency_ms: of its answers, None where
    there are none."""

    attempts: int
    answered: int
    failed: int
    mean_latency_ms: float | None


@dataclass(frozen=True, slots=True)
class Sent:
    """The attempts in the receipt of a request that a provider answered, and their total cost.
    created_us: microseconds since 1970."""

    attempts: list[dict[str, Any]]
    cost_pico: int
    created_us: int


class Wanted(NamedTuple):
    """Which attempts are asked for; None: any."""

    key: str | None = None
    model: str | None = None
    outcome: str | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """The same for the database."""
        columns = (attempts.c.key_name, attempts.c.model, attempts.c.outcome)
        pairs = zip(columns, self, strict=True)
        return [column == value for column, value in pairs if value is not None]


def recent_attempts(
    database: Database,
    limit: int,
    wanted: Wanted = Wanted(),  # noqa: B008 (it cannot change)
) -> list[Row[Any]]:
    """The attempts in progress, then those settled last. Blocks. Raises StorageError."""
    # Two queries, each along an index: sorted by started_at alone the whole ledger would be read.
    under_way = (
        select(*_SHOWN).where(attempts.c.settled_at.is_(None), *wanted.conditions).limit(limit)
    )
    settled = (
        select(*_SHOWN)
        .where(attempts.c.settled_at.is_not(None), *wanted.conditions)
        .order_by(attempts.c.settled_at.desc())
        .limit(limit)
    )
    with database.begin() as connection:
        rows = [*connection.execute(under_way), *connection.execute(settled)]
    return sorted(rows, key=lambda row: int(row.started_at), reverse=True)[:limit]


def provider_outcomes(database: Database, since: float) -> dict[str, ProviderOutcomes]:
    """The outcomes by provider; attempts that callers gave up or got wrong are not counted. Blocks.
    Raises StorageError."""
    query = (
        select(
            attempts.c.provider,
            attempts.c.outcome,
            func.count(),
            func.avg(attempts.c.latency_ms),
        )
        .where(attempts.c.settled_at >= micros(since))
        .group_by(attempts.c.provider, attempts.c.outcome)
    )
    found: defaultdict[str, dict[str, _Outcome]] = defaultdict(dict)
    with database.begin() as connection:
        for provider, outcome, n, latency_ms in connection.execute(query):
            found[provider][outcome] = _Outcome(n, latency_ms)
    return {provider: _outcomes(by_outcome) for provider, by_outcome in found.items()}


def recent_receipts(database: Database, before_us: int | None, limit: int) -> list[dict[str, Any]]:
    """The documents without their leaderboards, with key and time, newest first. Blocks. Raises
    StorageError."""
    query = select(receipts.c.document, receipts.c.key_name, receipts.c.created_at)
    if before_us is not None:
        query = query.where(receipts.c.created_at < before_us)
    query = query.order_by(receipts.c.created_at.desc()).limit(limit)
    with database.begin() as connection:
        rows = connection.execute(query).all()
    found = [_receipt(row[0], row[1], int(row[2])) for row in rows]
    return [one for one in found if one is not None]


def _receipt(text: str, key: str, created_us: int) -> dict[str, Any] | None:
    """A receipt; None where it cannot be read."""
    try:
        document = orjson.loads(text)
        attempts_of = unfold_attempts(document)
        return {**document, "attempts": attempts_of, "key": key, "created_us": created_us}
    except DAMAGED:
        return None


def answered_receipts(database: Database, since: float, limit: int) -> Iterator[Sent]:
    """The latest receipts since then of requests that a provider answered, newest first. Blocks.
    Raises StorageError."""
    with database.begin() as connection:
        for row in connection.execute(_answered(micros(since), limit)):
            sent = _receipt(row[0], "", 0)
            if sent is not None:
                yield Sent(sent["attempts"], int(row[1] or 0), int(row[2]))


def _answered(since_us: int, limit: int) -> Select[Any]:
    kept = attempts.c.request_id == receipts.c.request_id
    cost = select(func.sum(attempts.c.cost_pico)).where(kept).scalar_subquery()
    answered = exists().where(kept, attempts.c.outcome == Outcome.ANSWERED.value)
    return (
        select(
            receipts.c.document,
            func.coalesce(cost, 0) + func.coalesce(receipts.c.folded_pico, 0),
            receipts.c.created_at,
        )
        .where(receipts.c.created_at >= since_us, or_(receipts.c.folded_answered, answered))
        .order_by(receipts.c.created_at.desc())
        .limit(limit)
    )


def _outcomes(found: dict[str, _Outcome]) -> ProviderOutcomes:
    answers = found.get(Outcome.ANSWERED.value, _Outcome(0, None))
    total = sum(outcome.n for outcome in found.values())
    neither = sum(found[name].n for name in _NEITHER if name in found)
    latency_ms = None if answers.mean_latency_ms is None else float(answers.mean_latency_ms)
    return ProviderOutcomes(total, answers.n, total - answers.n - neither, latency_ms)
