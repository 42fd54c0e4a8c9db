"""Tells whether a table has changed."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table, func, select

from server.storage.database import Database

# A time in microseconds is reduced modulo this, so that the sum of any number of rows fits.
_MARK: Final = 1_000_003


def rows_version(database: Database, table: Table) -> tuple[int, ...]:
    """A value that changes whenever there are more or fewer rows, also by a gateway whose clock is
    behind. table: has a column created_at in microseconds. Blocks. Raises StorageError."""
    created = table.c.created_at
    marks = func.max(created), func.min(created), func.sum(created % _MARK)
    with database.begin() as connection:
        row = connection.execute(select(func.count(), *marks)).one()
    return tuple(int(mark or 0) for mark in row)
