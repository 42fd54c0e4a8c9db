"""Small states that outlive a process."""

from __future__ import annotations

import uuid

from sqlalchemy import select

from server.storage.database import Database
from server.storage.rows import micros
from server.storage.schema import states
from server.storage.statements import Kind, statements

_IDENTITY = "database id"


def read_state(database: Database, name: str) -> str | None:
    """A state by its name; None where there is none. Blocks. Raises StorageError."""
    with database.begin() as connection:
        found: str | None = connection.execute(
            select(states.c.document).where(states.c.name == name)
        ).scalar()
    return found


def database_id(database: Database) -> str:
    """An id of this database, created when it is first asked for. Blocks."""
    return first_state(database, _IDENTITY, uuid.uuid4().hex)


def first_state(database: Database, name: str, document: str) -> str:
    """The state of this name; where there is none, the document becomes its state. Blocks. Raises
    StorageError."""
    known = read_state(database, name)
    if known is None:
        first = {"name": name, "updated_at": 0, "document": document}
        with database.begin() as connection:
            statements(connection.dialect)[Kind.IDENTITY].execute(connection, [first])
        known = read_state(database, name)
    return known or ""


def put_state(database: Database, name: str, document: str, now: float) -> None:
    """Stores a state in place of the one of this name. now: seconds since 1970. Blocks. Raises
    StorageError."""
    row = {"name": name, "updated_at": micros(now), "document": document}
    with database.begin() as connection:
        statements(connection.dialect)[Kind.STATE].execute(connection, [row])
