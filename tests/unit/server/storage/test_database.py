"""Connections to the database end with it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from server.storage.database import Database


def test_a_connection_in_use_at_the_end_is_closed_when_it_is_given_back(tmp_path: Path) -> None:
    """A thread may still read for a caller who hung up."""
    database = Database(f"sqlite:///{tmp_path}/p2l.db")
    with database.begin() as connection:
        raw = connection.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        database.close()
        assert connection.execute(text("SELECT 1")).scalar() == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        raw.execute("SELECT 1")
