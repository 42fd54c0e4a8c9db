"""The statements of the writer; each may run twice with the same row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Table, bindparam, delete, literal_column, or_
from sqlalchemy.sql.expression import Executable

from server.ledger.attempt import Outcome
from server.storage.schema import attempts, catalogues, instances, prompts, receipts, states


class Kind(StrEnum):
    """The kind of a record, which selects the statement that writes it."""

    OPEN = "open"
    WITHDRAW = "withdraw"
    SETTLE = "settle"
    CATALOGUE = "catalogue"
    RECEIPT = "receipt"
    PROMPT = "prompt"
    STATE = "state"
    IDENTITY = "identity"
    SEEN = "seen"


Row = dict[str, Any]
# Rows in one statement, for SQLite. It accepts 32,766 parameters, but caches a program for each
# size.
_MOST_AT_ONCE: Final = 32
_KEYS: Final = {
    Kind.OPEN: attempts,
    Kind.CATALOGUE: catalogues,
    Kind.RECEIPT: receipts,
    Kind.PROMPT: prompts,
    Kind.IDENTITY: states,
}


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL in the driver's form: building it, and each row's parameters, each time would cost
    several times the writing. columns: in the order of its parameters, where these are
    positional."""

    sql: str
    columns: tuple[str, ...]
    has_places: bool

    @classmethod
    def of(cls, statement: Executable, dialect: Dialect) -> Statement:
        """The form of a statement whose only parameters are columns."""
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        places = compiled.positiontup if dialect.positional else compiled.params
        return cls(compiled.string, tuple(places), dialect.positional)

    def execute(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Executes the statement. A column that a row lacks (for example one spooled by an older
        process) is null."""
        names = self.columns
        if self.has_places:
            self._execute_at_once(connection, rows)
        else:
            given = [{name: row.get(name) for name in names} for row in rows]
            connection.exec_driver_sql(self.sql, given)

    def _execute_at_once(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Executes with many rows in each statement: SQLite's driver releases the interpreter's
        lock for every statement, and takes it back from the event loop. Sizes are powers of two, so
        that the driver finds the statements in its cache."""
        places = f"({', '.join('?' * len(self.columns))})"
        done = 0
        while done < len(rows):
            size = min(_MOST_AT_ONCE, 1 << ((len(rows) - done).bit_length() - 1))
            some = rows[done : done + size]
            sql = self.sql.replace(places, ", ".join([places] * size), 1)
            given = tuple([row.get(name) for row in some for name in self.columns])
            connection.exec_driver_sql(sql, given)
            done += size


def statements(dialect: Dialect) -> dict[Kind, Statement]:
    """The statements by kind, for one database."""
    made = {kind: Statement.of(one, dialect) for kind, one in _executables(dialect).items()}
    return made | {Kind.WITHDRAW: _withdraw(dialect)}


def _executables(dialect: Dialect) -> dict[Kind, Executable]:
    insert = insert_of(dialect)
    made: dict[Kind, Executable] = {
        kind: insert(table).on_conflict_do_nothing() for kind, table in _KEYS.items()
    }
    made[Kind.SETTLE] = _settle(insert)
    made[Kind.STATE] = _replace(insert, states, "name")
    made[Kind.SEEN] = _replace(insert, instances, "instance", keep={"started_at"})
    return made


def insert_of(dialect: Dialect) -> Any:
    """An insert that can say what to do where the row exists already."""
    if dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert
    from sqlalchemy.dialects import postgresql

    return postgresql.insert


def _withdraw(dialect: Dialect) -> Statement:
    """Removes the row of an attempt that was never made, unless it was settled."""
    if dialect.positional:
        sql = (
            "DELETE FROM attempts WHERE (request_id, attempt) IN (VALUES (?, ?)) "
            "AND settled_at IS NULL"
        )
        return Statement(sql, ("request_id", "attempt"), has_places=True)
    statement = delete(attempts).where(
        attempts.c.request_id == bindparam("request_id"),
        attempts.c.attempt == bindparam("attempt"),
        attempts.c.settled_at.is_(None),
    )
    return Statement.of(statement, dialect)


def _settle(insert: Any) -> Executable:
    """The first settlement stands, except that a real one replaces the guess made for a process
    that was taken for dead."""
    statement = insert(attempts)
    settled = {c.name: statement.excluded[c.name] for c in attempts.c if not c.primary_key}
    lost: Any = literal_column(f"'{Outcome.LOST.value}'")
    pending = or_(attempts.c.settled_at.is_(None), attempts.c.outcome == lost)
    done: Executable = statement.on_conflict_do_update(
        index_elements=["request_id", "attempt"], set_=settled, where=pending
    )
    return done


def _replace(
    insert: Any, table: Table, key: str, keep: frozenset[str] | set[str] = frozenset()
) -> Executable:
    statement = insert(table)
    names = [c.name for c in table.c if c.name != key and c.name not in keep]
    done: Executable = statement.on_conflict_do_update(
        index_elements=[key], set_={name: statement.excluded[name] for name in names}
    )
    return done
