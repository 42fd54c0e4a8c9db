"""Attempts are stored once, whatever dies: the same tests on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text
from stored_attempts import attempt, pico_of, rows, settled, started

from server.config.file import ConfigError
from server.config.settings import StorageSettings
from server.storage.batch import write
from server.storage.database import Database
from server.storage.errors import StorageRefusedError
from server.storage.migrate import HEAD, _upgrade, migrate
from server.storage.rows import attempt_row
from server.storage.schema import metadata
from server.storage.statements import Kind, statements
from server.storage.store import Store


def abandon(store: Store) -> None:
    """What is left of the store when its process is killed: nothing is flushed any more."""
    spool = store._spool
    assert spool is not None
    store._writer.submit = lambda *_: None  # type: ignore[method-assign]
    store._writer.stop(10)
    store.database.close()
    assert spool._lock is not None
    os.close(spool._lock)
    spool._lock = None


def test_the_migrations_make_the_schema_that_the_code_knows(storage_url: str) -> None:
    database = Database(storage_url)
    assert migrate(database)
    assert not migrate(database)
    with database.begin() as connection:
        found = inspect(connection)
        for table in metadata.tables.values():
            made = {c["name"]: c["nullable"] for c in found.get_columns(table.name)}
            assert made == {c.name: bool(c.nullable) for c in table.c}
            indexes = {index["name"] for index in found.get_indexes(table.name)}
            assert {str(index.name) for index in table.indexes} <= indexes
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        assert version == HEAD
    database.close()


def test_a_new_sqlite_database_is_what_the_migrations_make(tmp_path: Path) -> None:
    described = []
    for name, make in (("new", migrate), ("step_by_step", _upgrade)):
        database = Database(f"sqlite:///{tmp_path}/{name}.db")
        make(database)
        with database.begin() as connection:
            described.append(_described(connection))
        database.close()
    assert described[0] == described[1]


def _described(connection: Connection) -> dict[str, Any]:
    """Tables with their columns, keys and indexes, and what the database says it is."""
    names = "SELECT name, sql FROM sqlite_master WHERE type = :type ORDER BY name"
    tables = connection.execute(text(names), {"type": "table"}).all()
    indexes = connection.execute(text(names), {"type": "index"}).all()
    return {
        "columns": {
            name: connection.execute(text(f"PRAGMA table_info({name})")).all() for name, _ in tables
        },
        "indexes": [(name, sql and " ".join(sql.split())) for name, sql in indexes],
        "version": connection.execute(text("SELECT * FROM alembic_version")).all(),
    }


async def test_an_attempt_is_opened_and_settled_as_one_row(storage_url: str) -> None:
    with started(storage_url) as store:
        await store.open(attempt())
        assert await store.flush()
        (row,) = rows(storage_url)
        assert (row.outcome, row.settled_at, row.reserved_pico) == ("open", None, 2 * 10**10)
        store.settle(settled(attempt()))
        assert await store.flush()
        (row,) = rows(storage_url)
    assert (row.outcome, row.cost_pico, row.cost_source) == ("answered", 5 * 10**8, "usage")
    assert (row.prompt_tokens, row.cached_tokens, row.reasoning_tokens) == (10, 4, 0)
    assert row.started_at == 1_000_250_000


async def test_only_the_first_settlement_counts(storage_url: str) -> None:
    with started(storage_url) as store:
        await store.open(attempt())
        store.settle(settled(attempt()))
        await store.flush()
        store.settle(settled(attempt(), "9"))
        await store.open(attempt())
        await store.flush()
    (row,) = rows(storage_url)
    assert row.cost_pico == 5 * 10**8


async def test_of_many_in_one_batch_each_is_written_and_the_first_settlement_stands(
    storage_url: str,
) -> None:
    """Rows go into a statement by the dozen: 75 of them are several statements."""
    with started(storage_url) as store:
        for n in range(75):
            await store.open(attempt(n))
        assert await store.flush()
        for cost in ("0.0005", "9"):
            for n in range(0, 75, 2):
                store.settle(settled(attempt(n), cost))
        assert await store.flush()
    found = {row.request_id: row for row in rows(storage_url)}
    assert len(found) == 75
    for n in range(75):
        expected = ("open", None) if n % 2 else ("answered", 5 * 10**8)
        assert (found[f"req_{n}"].outcome, found[f"req_{n}"].cost_pico) == expected


async def test_a_clean_stop_writes_everything_and_leaves_no_spool(
    storage_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "spool"
    with started(storage_url, spool_dir=folder) as store:
        for n in range(500):
            await store.open(attempt(n))
            store.settle(settled(attempt(n)))
    assert len(rows(storage_url)) == 500
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("policy", "cost"), [("expected", "0.001"), ("worst", "0.02"), ("zero", "0")]
)
async def test_the_next_process_writes_what_was_spooled_and_closes_what_was_open(
    storage_url: str, tmp_path: Path, policy: str, cost: str
) -> None:
    options = {"spool_dir": tmp_path / "spool", "unknown_cost": policy}
    dead = Store(Database(storage_url), StorageSettings(url=storage_url, **options))
    dead.start()
    abandon(dead)
    await dead.open(attempt(1))
    await dead.open(attempt(2))
    dead.settle(settled(attempt(2)))
    assert rows(storage_url) == []
    with started(storage_url, **options) as store:
        assert [(lost.request_id, lost.cost_pico) for lost in store.lost] == [
            ("req_1", pico_of(cost))
        ]
    first, second = rows(storage_url)
    assert (first.outcome, first.cost_pico, first.cost_source) == (
        "lost",
        pico_of(cost),
        "estimate",
    )
    assert (second.outcome, second.cost_pico) == ("answered", 5 * 10**8)
    with started(storage_url, **options) as third:
        assert third.lost == []
    assert len(rows(storage_url)) == 2


async def test_a_receipt_is_spooled_with_the_next_attempt_or_by_the_loop(
    storage_url: str, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    receipt = {"version": "v", "created_at": 1, "document": "{}"}

    def lines() -> int:
        return sum(path.read_bytes().count(b"\n") for path in spool.glob("*.jsonl"))

    with started(storage_url, spool_dir=spool) as store:
        store.put(Kind.CATALOGUE, receipt)
        assert lines() == 0
        await store.open(attempt())
        assert lines() == 2
        store.put(Kind.CATALOGUE, receipt)
        await asyncio.sleep(0)
        assert lines() == 3


async def test_a_line_cut_short_is_left_out(storage_url: str, tmp_path: Path) -> None:
    options = {"spool_dir": tmp_path / "spool"}
    dead = Store(Database(storage_url), StorageSettings(url=storage_url, **options))
    dead.start()
    abandon(dead)
    await dead.open(attempt(1))
    await dead.open(attempt(2))
    (segment,) = (tmp_path / "spool").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-20])
    with started(storage_url, **options):
        pass
    assert [row.request_id for row in rows(storage_url)] == ["req_1"]


async def test_the_spool_of_a_process_that_lives_is_left_alone(
    storage_url: str, tmp_path: Path
) -> None:
    options = {"spool_dir": tmp_path / "spool"}
    with started(storage_url, **options) as one:
        await one.open(attempt(1))
        with started(storage_url, **options) as two:
            assert two.lost == []
            await two.open(attempt(2))
            two.settle(settled(attempt(2)))
        one.settle(settled(attempt(1)))
    assert {row.outcome for row in rows(storage_url)} == {"answered"}


async def test_who_is_not_seen_for_a_minute_is_lost_and_the_truth_still_wins(
    storage_url: str, tmp_path: Path
) -> None:
    with started(storage_url, spool_dir=tmp_path / "a") as sleeper:
        await sleeper.open(attempt())
        await sleeper.flush()
        later = Store(
            Database(storage_url),
            StorageSettings(url=storage_url, spool_dir=tmp_path / "b"),
            clock=lambda: sleeper._clock() + 120,
        )
        later.start()
        assert [lost.request_id for lost in later.lost] == ["req_1"]
        sleeper.settle(settled(attempt()))
        await sleeper.flush()
        later.close()
    (row,) = rows(storage_url)
    assert (row.outcome, row.cost_pico) == ("answered", 5 * 10**8)


async def test_a_clock_that_is_set_forward_makes_no_attempt_of_ones_own_lost(
    storage_url: str, tmp_path: Path
) -> None:
    with started(storage_url, spool_dir=tmp_path / "a") as store:
        await store.open(attempt())
        await store.flush()
        before = store._clock
        store._clock = lambda: before() + 3 * 3600
        assert store.close_stale() == []
        store.settle(settled(attempt()))
    assert [row.outcome for row in rows(storage_url)] == ["answered"]


async def test_a_record_that_no_database_takes_holds_up_no_other(storage_url: str) -> None:
    with started(storage_url) as store:
        await store.open(attempt(1))
        store.settle(replace(settled(attempt(2)), provider=None))  # type: ignore[arg-type]
        store.settle(settled(attempt(3)))
        assert await store.flush()
        assert store._writer.n_rejected == 1
    assert [row.request_id for row in rows(storage_url)] == ["req_1", "req_3"]


async def test_two_processes_write_to_one_database(storage_url: str, tmp_path: Path) -> None:
    async def write(store: Store, base: int) -> None:
        for n in range(100):
            await store.open(attempt(base + n))
            store.settle(settled(attempt(base + n)))
            if n % 20 == 0:
                await store.flush()

    with (
        started(storage_url, spool_dir=tmp_path / "a") as one,
        started(storage_url, spool_dir=tmp_path / "b") as two,
    ):
        await asyncio.gather(write(one, 0), write(two, 1000))
    found = rows(storage_url)
    assert len(found) == 200
    assert sum(row.cost_pico for row in found) == 200 * 5 * 10**8


@pytest.mark.services
async def test_without_a_spool_a_reservation_waits_for_its_commit(postgres: Any) -> None:
    url = postgres.database()
    with started(url) as store:
        await store.open(attempt())
        assert [row.outcome for row in rows(url)] == ["open"]


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.parametrize("on_failure", ["refuse", "spool"])
async def test_when_the_database_is_down(tmp_path: Path, on_failure: str) -> None:
    from services import postgres_server

    with postgres_server() as server:
        url = server.database()
        options = {"spool_dir": tmp_path / "spool", "on_failure": on_failure}
        with started(url, **options) as store:
            server.stop()
            try:
                await store.open(attempt(1))
                for _ in range(100):
                    if store.failure is not None:
                        break
                    await asyncio.sleep(0.05)
                assert store.failure is not None
                assert "@127.0.0.1" in store.failure
                if on_failure == "refuse":
                    with pytest.raises(StorageRefusedError):
                        await store.open(attempt(2))
                else:
                    await store.open(attempt(2))
                    store.settle(settled(attempt(2)))
            finally:
                server.start()
            store.settle(settled(attempt(1)))
            for _ in range(200):
                if store.failure is None and await store.flush():
                    break
                await asyncio.sleep(0.05)
            expected = ["answered"] if on_failure == "refuse" else ["answered"] * 2
            assert [row.outcome for row in rows(url)] == expected


def test_rows_are_withdrawn_unless_they_were_settled(storage_url: str) -> None:
    database = Database(storage_url)
    migrate(database)
    known = statements(database.engine.dialect)
    three = [attempt_row(attempt(number), "here") for number in (1, 2, 3)]
    one = attempt_row(settled(attempt(3)), "here")
    opened = [(Kind.OPEN, row) for row in three]
    withdrawn = [(Kind.WITHDRAW, row) for row in three]
    assert write(database, known, [*opened, (Kind.SETTLE, one)]) == []
    assert write(database, known, withdrawn) == []
    assert [row.request_id for row in rows(storage_url)] == [attempt(3).request_id]
    assert write(database, known, [*opened[:1], *withdrawn[:1]]) == []
    assert len(rows(storage_url)) == 1
    database.close()


@pytest.mark.slow
@pytest.mark.services
async def test_a_refused_attempt_leaves_no_row() -> None:
    """The first one after the database went down waits for its row, which must not be written
    later: nothing was sent."""
    from services import postgres_server

    with postgres_server() as server:
        url = server.database()
        with started(url, on_failure="refuse") as store:
            await store.open(attempt(1))
            server.stop()
            try:
                for number in (2, 3):
                    with pytest.raises(StorageRefusedError):
                        await store.open(attempt(number))
            finally:
                server.start()
            store.settle(settled(attempt(1)))
            for _ in range(200):
                if store.failure is None and await store.flush():
                    break
                await asyncio.sleep(0.05)
            assert [(row.request_id, row.outcome) for row in rows(url)] == [
                (attempt(1).request_id, "answered")
            ]


def test_an_unwritable_place_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"storage\.url: the folder .* does not exist"):
        Database(f"sqlite:///{tmp_path}/missing/p2l.db")
    with pytest.raises(ConfigError, match="is not supported"):
        Database("mysql://root:secret@db/x")
    with pytest.raises(ConfigError, match="would be lost"):
        Database("sqlite://")


def test_a_password_is_never_shown() -> None:
    database = Database("postgresql://p2l:geheim@127.0.0.1:1/x")
    with pytest.raises(Exception, match=r"\*\*\*") as caught, database.begin():
        pass
    assert "geheim" not in str(caught.value)
