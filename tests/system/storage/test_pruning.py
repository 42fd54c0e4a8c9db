"""What is old is deleted a little at a time, and what was spent is never forgotten: the same tests
on SQLite and PostgreSQL."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for
from sqlalchemy import func, insert, select
from stored_attempts import attempt, pico_of

from router.cost import Usage
from server.accounts.history import spent_slices
from server.ledger.attempt import CostSource, Outcome, pico
from server.ledger.window import WindowSpec
from server.offline.reconcile import Reconciliation
from server.offline.usage_export import Exported
from server.storage import housekeeping
from server.storage.activity import answered_receipts
from server.storage.database import Database
from server.storage.feedback import who_asked
from server.storage.migrate import migrate
from server.storage.pruning import MOST_AT_ONCE, delete_older, in_batches, next_size
from server.storage.rows import attempt_row, micros
from server.storage.schema import attempts, feedback, prompts, receipts, responses, totals
from server.storage.spend import GROUPS, UNTAGGED, days, spend, spent_usd
from server.storage.totals import fold_attempts

DAY_S = 86_400
NOW = 1_000 * DAY_S + 40_000.0


@pytest.fixture
def database(storage_url: str) -> Iterator[Database]:
    made = Database(storage_url)
    migrate(made)
    yield made
    made.close()


def ledger(database: Database, n_attempts: int = 600) -> None:
    """Of the last hundred days, by chance; one in twenty is still under way."""
    rng = random.Random(5)
    rows = [attempt_row(_attempt(rng, n), "i1") for n in range(n_attempts)]
    with database.begin() as connection:
        connection.execute(insert(attempts), rows)


def _attempt(rng: random.Random, n: int) -> Any:
    started_at = NOW - rng.uniform(0, 100 * DAY_S)
    of = replace(
        attempt(n),
        started_at=started_at,
        key_name=rng.choice(["a", "b"]),
        model=rng.choice(["dear", "cheap"]),
        provider=rng.choice(["main", "other"]),
        tags=((), ("team",), ("batch", "team"))[n % 3],
    )
    if rng.random() < 0.05:
        return of
    source = rng.choice(list(CostSource))
    return replace(
        of,
        settled_at=started_at + 1,
        upstream_id=f"id_{n}",
        outcome=rng.choice([Outcome.ANSWERED, Outcome.TIMED_OUT]),
        cost_pico=None if source is CostSource.NONE else rng.randrange(10**9),
        cost_source=source,
        usage=Usage(prompt_tokens=n, completion_tokens=3) if rng.random() < 0.8 else None,
    )


def told(database: Database) -> dict[str, Any]:
    """Everything that is said of what was spent."""
    said: dict[str, Any] = {by: spend(database, by, 0, NOW + 1) for by in GROUPS}
    for provider in ("main", "other"):
        said[f"days of {provider}"] = days(database, provider, 0, micros(NOW))
    for key in (None, "a"):
        for_ever = WindowSpec(key, 10**9, None)
        said[for_ever.name] = spent_slices(database, for_ever, micros(NOW))
    return said


def count(database: Database, table: Any) -> int:
    with database.begin() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar() or 0)


@pytest.mark.slow
def test_what_was_spent_is_told_as_before_when_its_attempts_are_gone(database: Database) -> None:
    ledger(database)
    before, n_before = told(database), count(database, attempts)
    assert len(before["day"]) > 90
    n_folded = fold_attempts(database, 30, NOW)
    assert 350 < n_folded < 500
    assert count(database, attempts) == n_before - n_folded
    assert told(database) == before
    # and again, when another day is over
    assert fold_attempts(database, 30, NOW + DAY_S) > 0
    assert told(database) == before
    assert fold_attempts(database, None, NOW + 900 * DAY_S) == 0
    fold_attempts(database, 1, NOW + 900 * DAY_S)
    assert told(database) == before
    with database.begin() as connection:
        left = connection.execute(select(attempts.c.outcome).distinct()).scalars().all()
    assert left == ["open"]


def test_attempts_are_kept_for_as_long_as_was_said_and_whole_days_of_them(
    database: Database,
) -> None:
    ledger(database)
    fold_attempts(database, 30, NOW)
    with database.begin() as connection:
        oldest = connection.execute(select(func.min(attempts.c.settled_at))).scalar()
        newest = connection.execute(select(func.max(totals.c.day))).scalar()
    assert oldest is not None
    assert newest is not None
    assert newest == int(NOW // DAY_S) - 31
    assert oldest >= (newest + 1) * DAY_S * 10**6


def test_a_window_longer_than_attempts_are_kept_never_forgets_too_early(
    database: Database,
) -> None:
    ledger(database)
    window = WindowSpec("a", 10**9, 60 * DAY_S)
    exact = sum(nano for _, nano in spent_slices(database, window, micros(NOW)))
    fold_attempts(database, 30, NOW)
    slices = spent_slices(database, window, micros(NOW))
    assert slices == sorted(slices)
    coarse = sum(nano for _, nano in slices)
    of_a_day = WindowSpec("a", 10**9, 61 * DAY_S)
    assert exact <= coarse <= sum(nano for _, nano in spent_slices(database, of_a_day, micros(NOW)))


def test_an_attempt_counts_under_each_of_its_tags(database: Database) -> None:
    ledger(database, 300)
    with database.begin() as connection:
        rows = connection.execute(
            select(attempts.c.tags, attempts.c.cost_pico).where(attempts.c.settled_at.is_not(None))
        ).all()
    for folded in (False, True):
        if folded:
            assert fold_attempts(database, 30, NOW) > 0
        found = {row.group: row for row in spend(database, "tag", 0, NOW + 1)}
        assert found.keys() == {"team", "batch", UNTAGGED}
        for tag in ("team", "batch"):
            own = [row.cost_pico or 0 for row in rows if f'"{tag}"' in (row.tags or "")]
            assert found[tag].attempts == len(own)
            assert pico(found[tag].cost_usd) == sum(own)
        assert found[UNTAGGED].attempts == sum(row.tags is None for row in rows)
        total = sum(row.cost_pico or 0 for row in rows)
        assert pico(spent_usd(database, 0, NOW + 1)) == total


@pytest.mark.slow
def test_two_gateways_that_fold_at_once_count_nothing_twice(database: Database) -> None:
    ledger(database, 2_000)
    before = told(database)

    def fold(_: int) -> int:
        n_folded = 0
        for _ in range(40):
            n_folded += fold_attempts(database, 1, NOW, most=37)
        return n_folded

    with ThreadPoolExecutor(4) as pool:
        n_folded = sum(pool.map(fold, range(4)))
    assert told(database) == before
    assert n_folded + count(database, attempts) == 2_000


def _receipt(request_id: str) -> dict[str, Any]:
    decision = {"model": "dear", "alternatives": [], "explanation": "told"}
    document = {"attempts": [{"decision": decision, "request": {}}]}
    return {
        "request_id": request_id,
        "created_at": micros(NOW - DAY_S * 50),
        "key_name": "team",
        "catalogue_version": "v",
        "document": orjson.dumps(document).decode(),
    }


def test_a_receipt_knows_what_its_attempts_cost_when_they_are_gone(database: Database) -> None:
    failed = replace(
        attempt(1), settled_at=NOW - 50 * DAY_S, outcome=Outcome.TIMED_OUT, cost_pico=3
    )
    answered = replace(failed, attempt=2, outcome=Outcome.ANSWERED, cost_pico=40)
    alone = replace(failed, request_id="req_2", cost_pico=5)
    late = replace(answered, attempt=3, settled_at=NOW, cost_pico=500)
    with database.begin() as connection:
        rows = [attempt_row(one, "i") for one in (failed, answered, alone, late)]
        connection.execute(insert(attempts), rows)
        connection.execute(insert(receipts), [_receipt("req_1"), _receipt("req_2")])

    def sent() -> list[int]:
        return [one.cost_pico for one in answered_receipts(database, 0, 10)]

    assert sent() == [543]
    for _ in range(4):  # one by one: a request's attempts may be in several batches
        fold_attempts(database, 1, NOW, most=1)
        assert sent() == [543]
    assert count(database, attempts) == 1
    fold_attempts(database, 1, NOW + 10 * DAY_S)
    assert sent() == [543]
    asked = who_asked(database, "req_1")
    assert asked is not None
    assert (asked.key_name, asked.model) == ("team", "dear")
    unanswered = who_asked(database, "req_2")
    assert unanswered is not None
    assert unanswered.model is None


def test_reconciling_a_day_whose_attempts_are_gone_counts_no_answer_twice(
    database: Database,
) -> None:
    """An export names each answer: that of a day that has become a total is in the total."""

    def answer(upstream_id: str, usd: str) -> Exported:
        return Exported(upstream_id, "1972-08-01", "up-dear", 1, 10, 0, 10, Decimal(usd))

    settled_at = 943 * DAY_S + 100.0
    row = replace(
        attempt(1),
        settled_at=settled_at,
        outcome=Outcome.ANSWERED,
        upstream_id="id_1",
        cost_pico=pico_of("1"),
        cost_source=CostSource.USAGE,
    )
    with database.begin() as connection:
        connection.execute(insert(attempts), [attempt_row(row, "i")])
    lost = answer("id_2", "2")
    export = [answer("id_1", "1"), lost]
    work = Reconciliation(database, "main", [])
    work.apply(work.differences(export))
    fold_attempts(database, 1, NOW)
    again = Reconciliation(database, "main", [])
    found = again.differences(export)
    assert [(one.usd, one.ledger_requests) for one in found] == [(0, 1)]
    more = [*export, answer("id_3", "4")]
    again.apply(again.differences(more))
    last = Reconciliation(database, "main", [])
    assert sum(one.usd for one in last.differences(more)) == 0


def _old_rows(table: Any, n_rows: int, size: int = 10) -> list[dict[str, Any]]:
    key = next(iter(table.primary_key.columns)).name
    filled = {
        "key_name": "team",
        "catalogue_version": "v",
        "document": "x" * size,
        "messages": "x" * size,
        "n_bytes": 1,
        "input": "x",
    }
    names = {column.name for column in table.columns}
    same = {name: value for name, value in filled.items() if name in names}
    return [
        {key: f"r{n}", "created_at": micros(NOW - (5 if n % 2 else 50) * DAY_S), **same}
        for n in range(n_rows)
    ]


@pytest.mark.parametrize(
    "table", [receipts, prompts, responses, feedback], ids=lambda table: table.name
)
async def test_all_that_is_old_goes_and_nothing_else(database: Database, table: Any) -> None:
    with database.begin() as connection:
        connection.execute(insert(table), _old_rows(table, 1_000))
    assert await in_batches(partial(delete_older, database, table, None, NOW)) == 0
    assert await in_batches(partial(delete_older, database, table, 30, NOW)) == 500
    with database.begin() as connection:
        left = connection.execute(select(func.min(table.c.created_at))).scalar()
    assert left == micros(NOW - 5 * DAY_S)
    assert count(database, table) == 500


def test_a_batch_is_as_large_as_its_time_allows() -> None:
    assert next_size(100, 0.0001) == 200
    assert next_size(8_000, 0.0001) == MOST_AT_ONCE
    assert next_size(1_000, 0.3) == 100
    assert next_size(100, 30.0) == 10


async def test_after_each_batch_the_lock_is_free_for_as_long_as_it_was_held() -> None:
    now, sizes, pauses = 0.0, [], []
    left = 25_000

    def step(most: int) -> int:
        nonlocal now, left
        sizes.append(most)
        found = min(most, left)
        left -= found
        now += found * 1e-6 + 0.02
        return found

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    assert await in_batches(step, lambda: now, pause) == 25_000
    assert max(sizes) <= MOST_AT_ONCE
    assert min(pauses) >= 0.02
    assert len(pauses) == len(sizes) - 1


@pytest.mark.slow
@pytest.mark.parametrize("what", ["receipts", "attempts"])
async def test_nobody_who_writes_waits_long_for_the_pruning(tmp_path: Path, what: str) -> None:
    """SQLite has one lock for all who write. One statement for these rows held it for 2 s: the
    batches are compared with it, by the time of the thread that works, which no other program's
    work adds to."""
    path = tmp_path / "p2l.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    if what == "attempts":
        ledger(database, 21_000)
    else:
        with database.begin() as connection:
            connection.execute(insert(receipts), _old_rows(receipts, 40_000, size=4_000))
    database.close()
    shutil.copy(path, tmp_path / "whole.db")

    def step_in(file: Path) -> tuple[Database, Callable[[int], int]]:
        made = Database(f"sqlite:///{file}")
        if what == "attempts":
            return made, partial(fold_attempts, made, 1, NOW)
        return made, partial(delete_older, made, receipts, 30, NOW)

    whole, all_at_once = step_in(tmp_path / "whole.db")
    began = time.thread_time()
    n_rows = all_at_once(10**6)
    whole_s = time.thread_time() - began
    whole.close()
    assert n_rows > 19_000

    database, step = step_in(path)
    held_s: list[float] = []
    other = sqlite3.connect(path, timeout=0, isolation_level=None)

    def measured(most: int) -> int:
        began = time.thread_time()
        found = step(most)
        held_s.append(time.thread_time() - began)
        return found

    async def others_turn(_: float) -> None:
        other.execute("BEGIN IMMEDIATE")  # fails at once where the lock is held
        other.execute("ROLLBACK")

    try:
        assert await in_batches(measured, sleep=others_turn) == n_rows
    finally:
        other.close()
        database.close()
    assert max(held_s) < whole_s / 4


@pytest.mark.parametrize("window_s", [None, 600 * DAY_S])
def test_a_budget_counts_what_is_only_in_the_totals(
    provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window_s: int | None
) -> None:
    monkeypatch.setattr(housekeeping, "_PRUNE_S", 0.05)
    url = f"sqlite:///{tmp_path}/p2l.db"
    old = replace(
        attempt(1),
        settled_at=time.time() - 500 * DAY_S,
        outcome=Outcome.ANSWERED,
        cost_pico=pico_of("5"),
    )
    database = Database(url)
    migrate(database)
    with database.begin() as connection:
        connection.execute(insert(attempts), [attempt_row(old, "i")])
    window = "" if window_s is None else f", window_s: {window_s}"
    config = config_for(
        provider.base_url,
        f"auth: {{keys: [{{name: team, key_env: TEAM, budget_usd: 5{window}}}]}}\n"
        f'storage: {{url: "{url}"}}\n',
    )
    environ = {"MAIN_KEY": "sk-provider-canary", "TEAM": "team-key"}
    chat = {"model": "cheap", "messages": [{"role": "user", "content": "Hi"}]}
    with LiveGateway(config, environ) as live:
        deadline = time.monotonic() + 20
        while count(database, attempts) > 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        answer = httpx.post(
            f"{live.url}/v1/chat/completions",
            json=chat,
            headers={"authorization": "Bearer team-key"},
            trust_env=False,
        )
    database.close()
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_exhausted")
