"""What may have been paid is not bought again."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import insert
from stored_attempts import attempt, started

from server.ledger.attempt import Outcome
from server.offline.learn.lost_calls import paid_of, was_paid
from server.storage.database import Database
from server.storage.migrate import migrate
from server.storage.schema import attempts


def test_only_what_has_cost_nothing_for_sure_is_free(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    migrate(database)
    rows = [
        {
            "request_id": outcome.value,
            "attempt": 1,
            "instance": "i",
            "key_name": "learn",
            "model": "m",
            "provider": "p",
            "upstream_model": "m",
            "routed": True,
            "streamed": False,
            "started_at": 1,
            "outcome": outcome.value,
            "reserved_pico": 7 * 10**12,
            "cost_pico": 0,
            "cost_source": "none",
        }
        for outcome in Outcome
    ]
    rows.append({**rows[0], "request_id": "billed", "outcome": "rejected", "cost_pico": 5})
    with database.begin() as connection:
        connection.execute(insert(attempts), rows)
    asked = {*(one.value for one in Outcome), "billed", "never sent"}
    paid, open_usd = paid_of(database, asked)
    database.close()
    assert asked - paid == {"rejected", "rate_limited", "unavailable", "never sent"}
    assert open_usd == Decimal(7)


@pytest.mark.anyio
async def test_a_call_that_the_database_does_not_know_yet_may_have_been_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool has it, and it was sent; another process keeps the database from taking it."""
    monkeypatch.setattr("server.storage.store._FLUSH_S", 0.2)
    path = tmp_path / "ledger.db"
    with started(f"sqlite:///{path}", spool_dir=tmp_path / "spool") as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            await store.open(attempt(1))
            assert await was_paid(store, "req_1")
        finally:
            other.execute("ROLLBACK")
            other.close()
        monkeypatch.setattr("server.storage.store._FLUSH_S", 20.0)
        assert await was_paid(store, "req_1"), "it is open"
        assert not await was_paid(store, "never sent")
