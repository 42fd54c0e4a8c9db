"""The connection to the database: SQLite in WAL mode by default, PostgreSQL by URL."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from p2l_model.errors import with_extra
from server.config.file import ConfigError
from server.config.secret import Secret
from server.storage.errors import StorageError

_BUSY_MS: Final = 10_000
_CONNECT_S: Final = 5
_POSTGRES: Final = "postgresql+psycopg"


class Database:
    """A pool of connections to one database. Safe to use from several threads."""

    def __init__(self, url: str | URL, password: Secret | None = None) -> None:
        """Raises ConfigError for a URL of an unknown kind, or for a file that cannot be written."""
        self.url = _checked(url)
        if password is not None:
            self.url = self.url.set(password=password.reveal())
        self.path = _sqlite_path(self.url)
        if self.path is not None:
            _check_writable(self.path)
        self.engine = self._engine()
        self._is_closed = False
        event.listen(self.engine, "checkin", self._given_back)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def shown(self) -> str:
        """The URL with stars in place of its password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction. Raises StorageError where the database cannot be used."""
        with self.naming(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Turns the driver's errors into StorageError: theirs quote statements and their values."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StorageError(self.reason(error)) from None

    def reason(self, error: BaseException) -> str:
        """The first line of the driver's message: without the statement, and so without values."""
        origin = getattr(error, "orig", None) or error
        lines = str(origin).strip().splitlines()
        return f"{self.shown}: {type(origin).__name__}: {lines[0][:200] if lines else ''}"

    def close(self) -> None:
        """Closes all connections; one that is in use, when it is given back."""
        self._is_closed = True
        self.engine.dispose()

    def _given_back(self, _: object, record: ConnectionPoolEntry) -> None:
        # Its pool is gone: nobody else would close it.
        if self._is_closed:
            record.invalidate()

    def _engine(self) -> Engine:
        try:
            if not self.is_sqlite:
                return create_engine(
                    self.url,
                    pool_pre_ping=True,
                    connect_args={
                        "connect_timeout": _CONNECT_S,
                        "tcp_user_timeout": 10_000,
                        "options": "-c statement_timeout=30000 -c lock_timeout=20000",
                    },
                )
            engine = create_engine(self.url, connect_args={"timeout": _BUSY_MS / 1000})
        except ImportError:
            raise ConfigError(
                f"storage.url: PostgreSQL needs its driver: {with_extra('postgres')}"
            ) from None
        event.listen(engine, "connect", _set_pragmas)
        return engine


def _checked(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(
            "storage.url: must be like sqlite:///p2l-router.db or postgresql://user@host/database"
        ) from None
    if parsed.get_backend_name() == "sqlite" or parsed.drivername == _POSTGRES:
        return parsed
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername=_POSTGRES)
    raise ConfigError(
        f"storage.url: {parsed.drivername} is not supported; use sqlite:/// or postgresql://"
    )


def _sqlite_path(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:":
        raise ConfigError("storage.url: a database in memory would be lost: name a file")
    return Path(url.database).absolute()


def _check_writable(path: Path) -> None:
    place = path if path.exists() else path.parent
    if not path.parent.is_dir():
        fault = f"the folder {path.parent} does not exist"
    elif not os.access(place, os.W_OK) or not os.access(path.parent, os.W_OK):
        fault = f"{place} cannot be written"
    else:
        return
    raise ConfigError(
        f"storage.url: {fault}. Spend is recorded there: set storage.url to a file that can be "
        "written (sqlite:////var/lib/p2l-router/p2l-router.db), or to a postgresql:// database"
    )


def _set_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    # The writer commits in batches and outside requests: each commit may wait for the disk.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
