"""Computes spend by the tags that callers give their requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, case, func, null, select, union_all

from server.ledger.attempt import CostSource
from server.storage.database import Database
from server.storage.pruning import DAY_US
from server.storage.rows import decoded_tags
from server.storage.schema import attempts, tag_totals, totals
from server.storage.statements import insert_of

_SUMS: Final = ("attempts", "cost_pico", "estimated_pico", "prompt_tokens", "completion_tokens")
_KEY: Final = ("day", "tags")
Sums = tuple[int, ...]


def sums_by_tag(database: Database, since_us: int, until_us: int) -> dict[str | None, Sums]:
    """For each tag: attempts, picodollars, estimated picodollars, prompt tokens and completion
    tokens of what was settled in this time. An attempt counts under each of its tags, and under
    None where it has none. Blocks. Raises StorageError."""
    during = attempts.c.settled_at >= since_us, attempts.c.settled_at < until_us
    days = since_us // DAY_US, until_us
    # One statement: an attempt that becomes part of a total meanwhile is counted once.
    parts = union_all(
        _kept().where(*during).group_by(attempts.c.tags),
        _folded(1).where(*_touched(tag_totals, *days)).group_by(tag_totals.c.tags),
        # All totals without those of tagged attempts are those of untagged attempts.
        _all_folded().where(*_touched(totals, *days)),
        _folded(-1, tags=null()).where(*_touched(tag_totals, *days)),
    )
    found: defaultdict[str | None, list[int]] = defaultdict(lambda: [0] * len(_SUMS))
    with database.begin() as connection:
        for stored, *values in connection.execute(parts):
            for tag in decoded_tags(stored) or (None,):
                total = found[tag]
                for place, value in enumerate(values):
                    total[place] += int(value or 0)
    return {tag: tuple(sums) for tag, sums in found.items() if sums[0] > 0}


def add_tag_totals(connection: Connection, found: Iterable[Row[Any]]) -> None:
    """Adds deleted attempts with tags to their totals, in the caller's transaction."""
    sums: defaultdict[tuple[int, str], list[int]] = defaultdict(lambda: [0] * len(_SUMS))
    for row in found:
        if row.tags is not None:
            cost = row.cost_pico or 0
            estimated = cost if row.cost_source == CostSource.ESTIMATE.value else 0
            tokens = row.prompt_tokens or 0, row.completion_tokens or 0
            total = sums[row.settled_at // DAY_US, row.tags]
            for place, value in enumerate((1, cost, estimated, *tokens)):
                total[place] += value
    if not sums:
        return
    made = insert_of(connection.dialect)(tag_totals)
    more = {name: tag_totals.c[name] + made.excluded[name] for name in _SUMS}
    # Sorted: two gateways that add to the same totals must not deadlock.
    rows = [dict(zip((*_KEY, *_SUMS), (*key, *sums[key]), strict=True)) for key in sorted(sums)]
    connection.execute(made.on_conflict_do_update(index_elements=_KEY, set_=more), rows)


def _kept() -> Select[Any]:
    is_estimate = attempts.c.cost_source == CostSource.ESTIMATE.value
    return select(
        attempts.c.tags.label("tags"),
        func.count(),
        func.sum(attempts.c.cost_pico),
        func.sum(case((is_estimate, attempts.c.cost_pico), else_=0)),
        func.sum(attempts.c.prompt_tokens),
        func.sum(attempts.c.completion_tokens),
    )


def _folded(sign: int, tags: Any = tag_totals.c.tags) -> Select[Any]:
    return select(tags, *(sign * func.sum(tag_totals.c[name]) for name in _SUMS))


def _all_folded() -> Select[Any]:
    is_estimate = totals.c.cost_source == CostSource.ESTIMATE.value
    no_tags: Any = null()
    return select(
        no_tags,
        func.sum(totals.c.attempts),
        func.sum(totals.c.cost_pico),
        func.sum(case((is_estimate, totals.c.cost_pico), else_=0)),
        func.sum(totals.c.prompt_tokens),
        func.sum(totals.c.completion_tokens),
    )


def _touched(table: Any, first_day: int, until_us: int) -> tuple[Any, Any]:
    """Selects the totals of days that are in this time, or partly so."""
    return table.c.day >= first_day, table.c.day * DAY_US < until_us
