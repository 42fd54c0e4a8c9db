"""What may have been paid is not bought again."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from sqlalchemy import insert

from server.ledger.attempt import Outcome
from server.offline.learn.lost_calls import paid_of
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
