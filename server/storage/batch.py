"""Records into the database, many in a transaction."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from server.storage.database import Database
from server.storage.errors import StorageError
from server.storage.spool import Record
from server.storage.statements import Kind, Row, Statement

_LOG: Final = logging.getLogger(__name__)
# What the driver or our own code makes of a record that cannot be written, now or ever.
_OF_THE_RECORD: Final = (
    DataError,
    IntegrityError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
)
# SQLite's driver says so of a value of a type that it does not know.
_UNBINDABLE: Final = "Error binding parameter"


def write(
    database: Database, known: Mapping[Kind, Statement], records: Sequence[Record]
) -> list[Record]:
    """Writes all of them, in one transaction where that goes; returns those that no database
    takes. Raises StorageError where the database is down: then none is written."""
    try:
        with database.engine.begin() as connection:
            _execute(connection, known, records)
    except Exception as error:
        _raise_where_down(database, error)
        return _one_by_one(database, known, records)
    return []


def _one_by_one(
    database: Database, known: Mapping[Kind, Statement], records: Sequence[Record]
) -> list[Record]:
    """One record at fault must not hold up all others."""
    refused = []
    for record in records:
        try:
            with database.engine.begin() as connection:
                _execute(connection, known, [record])
        except Exception as error:
            _raise_where_down(database, error)
            refused.append(record)
            kind, row = record
            _LOG.error("storage: no database takes the %s of %s", kind, row.get("request_id"))
    return refused


def _execute(
    connection: Connection, known: Mapping[Kind, Statement], records: Sequence[Record]
) -> None:
    for kind, rows in _by_kind(records).items():
        known[kind].execute(connection, rows)


def _by_kind(records: Sequence[Record]) -> dict[Kind, list[Row]]:
    """Rows by statement; an attempt that was also settled in this batch is written once."""
    rows: dict[Kind, list[Row]] = {}
    settled = {_identity(row) for kind, row in records if kind is Kind.SETTLE}
    for kind, row in records:
        if kind is not Kind.OPEN or _identity(row) not in settled:
            rows.setdefault(kind, []).append(row)
    return rows


def _identity(row: Row) -> tuple[str, int]:
    return row["request_id"], row["attempt"]


def _raise_where_down(database: Database, error: Exception) -> None:
    """Where it is not the record that is at fault: no memory, a disk that fails, anything else that
    was not foreseen may pass, and the record must not be given up for it."""
    unbindable = isinstance(error, DBAPIError) and _UNBINDABLE in str(error.orig)
    if not unbindable and not isinstance(error, _OF_THE_RECORD):
        raise StorageError(database.reason(error)) from None
