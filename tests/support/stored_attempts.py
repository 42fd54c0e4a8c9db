"""Attempts for a store, and what it has kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from router.cost import Usage
from server.config.settings import StorageSettings
from server.ledger.attempt import Attempt, CostSource, Outcome, pico
from server.storage.database import Database
from server.storage.schema import attempts
from server.storage.store import Store


def attempt(n: int = 1, **changes: Any) -> Attempt:
    row = Attempt(
        request_id=f"req_{n}",
        attempt=1,
        key_name="team",
        model="dear",
        provider="main",
        upstream_model="up-dear",
        routed=True,
        streamed=False,
        started_at=1_000.25,
        reserved_pico=pico_of("0.02"),
        expected_pico=pico_of("0.001"),
        budget_pico=None,
        budget_mode=None,
    )
    return replace(row, **changes)


def pico_of(amount: str) -> int:
    return pico(Decimal(amount))


def settled(row: Attempt, cost: str = "0.0005") -> Attempt:
    return replace(
        row,
        outcome=Outcome.ANSWERED,
        settled_at=1_001.5,
        cost_pico=pico_of(cost),
        cost_source=CostSource.USAGE,
        usage=Usage(prompt_tokens=10, completion_tokens=20, cached_tokens=4),
    )


@contextmanager
def started(url: str, **settings: Any) -> Iterator[Store]:
    store = Store(Database(url), StorageSettings(url=url, **settings))
    store.start()
    try:
        yield store
    finally:
        store.close()


def rows(url: str) -> list[Any]:
    database = Database(url)
    with database.begin() as connection:
        found = connection.execute(select(attempts).order_by(attempts.c.request_id)).all()
    database.close()
    return list(found)
