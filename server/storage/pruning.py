"""Deletes old records in small batches, so that other writers hardly wait.

SQLite has one lock for all writers. A batch takes a small part of the time that a writer may be
kept waiting, and after each batch the lock is free for as long as it was held.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from sqlalchemy import Table, delete, select

from server.process.background import in_thread
from server.storage.database import Database
from server.storage.rows import MICRO, micros

DAY_S: Final = 86_400
DAY_US: Final = DAY_S * MICRO
MOST_AT_ONCE: Final = 10_000
_FIRST_BATCH: Final = 100
_SMALLEST_BATCH: Final = 10
# The seconds that a batch should take. Until it is over, nobody else can write to SQLite.
_TARGET_S: Final = 0.03
_PAUSE_S: Final = 0.01

# Deletes at most this many rows, and returns how many it found.
Step = Callable[[int], int]


async def in_batches(
    step: Step,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Takes steps, each in a thread, until nothing is left; returns the number of rows. If
    cancelled, it ends after the step in progress."""
    size, n_rows = _FIRST_BATCH, 0
    while True:
        began = clock()
        found = await in_thread(partial(step, size))
        took_s = clock() - began
        n_rows += found
        if found < size:
            return n_rows
        size = next_size(size, took_s)
        await sleep(max(_PAUSE_S, took_s))


def next_size(size: int, took_s: float) -> int:
    """The size of the next batch, after one of this size took this long. It grows gradually: the
    first rows may be short ones."""
    fitting = int(size * _TARGET_S / took_s) if took_s > 0 else MOST_AT_ONCE
    return max(_SMALLEST_BATCH, min(MOST_AT_ONCE, 2 * size, fitting))


def delete_older(
    database: Database, table: Table, days: int | None, now: float, most: int = MOST_AT_ONCE
) -> int:
    """Deletes rows of a table that were created more than this many days ago (None: none), and
    returns their number. Blocks. Raises StorageError."""
    if days is None:
        return 0
    statement = delete(table).where(key_of(table).in_(_older(table, days, now, most)))
    with database.begin() as connection:
        return int(connection.execute(statement).rowcount)


def key_of(table: Table) -> Any:
    """The primary key column of the table."""
    (key,) = table.primary_key.columns
    return key


def _older(table: Table, days: int, now: float, most: int) -> Any:
    # In PostgreSQL another gateway may be deleting the same rows: those are left to it.
    return (
        select(key_of(table))
        .where(table.c.created_at < micros(now) - days * DAY_US)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
