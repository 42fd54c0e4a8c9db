"""Writes records to the database, many in one transaction."""

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
# Errors of the driver or of our own code for a record that can never be written.
_OF_THE_RECORD: Final = (
    DataError,
    IntegrityError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
)
# The message of SQLite's driver for a value of an unsupported type.
_UNBINDABLE: Final = "Error binding parameter"


def write(
    database: Database, known: Mapping[Kind, Statement], records: Sequence[Record]
) -> list[Record]:
    """Writes all records, in one transaction where possible; returns those that no database
    accepts. Raises StorageError where the database is down: then none is written."""
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
    """Writes records one by one: a faulty one must not hold up all the others."""
    refused = []
    for record in records:
        try:
            with database.engine.begin() as connection:
                _execute(connection, known, [record])
        except Exception as error:
            _raise_where_down(database, error)
            refused.append(record)
            kind, row = record
            _LOG.error(
                "storage: the database refuses the %s record of %s", kind, row.get("request_id")
            )
    return refused


def _execute(
    connection: Connection, known: Mapping[Kind, Statement], records: Sequence[Record]
) -> None:
    for kind, rows in _by_kind(records).items():
        known[kind].execute(connection, rows)


def _by_kind(records: Sequence[Record]) -> dict[Kind, list[Row]]:
    """Groups rows by statement; an attempt that was also settled in this batch is written once."""
    rows: dict[Kind, list[Row]] = {}
    settled = {_identity(row) for kind, row in records if kind is Kind.SETTLE}
    for kind, row in records:
        if kind is not Kind.OPEN or _identity(row) not in settled:
            rows.setdefault(kind, []).append(row)
    return rows


def _identity(row: Row) -> tuple[str, int]:
    return row["request_id"], row["attempt"]


def _raise_where_down(database: Database, error: Exception) -> None:
    """Raises StorageError where the record is not at fault: a lack of memory, a failing disk or
    anything else unforeseen may pass, and the record must not be given up for it."""
    unbindable = isinstance(error, DBAPIError) and _UNBINDABLE in str(error.orig)
    if not unbindable and not isinstance(error, _OF_THE_RECORD):
        raise StorageError(database.reason(error)) from None
