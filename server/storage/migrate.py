"""Brings a database to the newest schema, by the alembic migrations that ship with the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    inspect,
    text,
)

from server.storage.database import Database
from server.storage.errors import StorageError
from server.storage.schema import metadata

# The newest revision; a test compares it with the files.
HEAD: Final = "0011"
_LOCK: Final = 0x70326C  # an arbitrary number of our own
# The table as alembic creates it.
_VERSION: Final = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def migrate(database: Database) -> bool:
    """Migrates the database; returns whether anything had to be done. Safe in several processes at
    once. Raises StorageError."""
    if _is_newest(database):
        return False
    if database.is_sqlite:
        if _created(database):
            return True
        if _is_newest(database):  # another process was faster
            return False
    _upgrade(database)
    return True


def _upgrade(database: Database) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    with as_file(files("server.storage") / "migrations") as folder, database.begin() as connection:
        _lock(connection)
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StorageError(
                f"{database.shown} was written by a newer version of p2l-router ({error})"
            ) from error


def _is_newest(database: Database) -> bool:
    with database.begin() as connection:
        return _revision(connection) == HEAD


def _created(database: Database) -> bool:
    """Creates the newest schema in an empty database, without alembic, which takes 0.3 s and 12 MB
    to load; returns whether the database was empty."""
    with database.begin() as connection:
        _lock(connection)
        if inspect(connection).get_table_names():
            return False
        metadata.create_all(connection)
        _VERSION.create(connection)
        connection.execute(_VERSION.insert().values(version_num=HEAD))
    return True


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _lock(connection: Connection) -> None:
    """Prevents other migrations until the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
