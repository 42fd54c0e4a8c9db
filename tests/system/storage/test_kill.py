"""`kill -9` at any moment: no settled row is lost, none is counted twice, nothing stays open."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import config_for
from serve_process import ServeProcess
from services import PostgresServer
from sqlalchemy import select

from server.ledger.attempt import usd
from server.storage.database import Database
from server.storage.schema import attempts, receipts

USAGE = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
BODY = {"model": "p2l", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 110}
DEAR = BODY | {"model": "dear"}


class Callers:
    """Ask without a pause until the gateway dies; told is what they were told it cost."""

    def __init__(self, url: str, body: dict[str, Any]) -> None:
        self._body = body
        self.told: dict[str, Decimal] = {}
        self._url = url
        self._threads = [threading.Thread(target=self._ask) for _ in range(6)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(20)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=10) as client:
            while True:
                try:
                    answer = client.post("/v1/chat/completions", json=self._body)
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    cost = Decimal(answer.headers["x-p2l-cost-usd"])
                    self.told[answer.headers["x-request-id"]] = cost


def ledger(url: str) -> list[Any]:
    database = Database(url)
    with database.begin() as connection:
        rows = connection.execute(select(attempts)).all()
        kept = connection.execute(select(receipts.c.request_id)).scalars().all()
    database.close()
    assert len(kept) == len(set(kept))
    return list(rows)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """(URL, the section of the configuration)."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/p2l.db"
        return url, f'storage: {{url: "{url}"}}'
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.database()
    return url, f'storage: {{url: "{url}", spool_dir: "{tmp_path}/spool"}}'


@pytest.mark.slow
def test_killed_again_and_again(
    provider: FakeProvider, storage: tuple[str, str], tmp_path: Path
) -> None:
    url, section = storage
    provider.script("*", Behaviour(usage=USAGE, first_delay_s=0.005))
    config = config_for(provider.base_url, section)
    told: dict[str, Decimal] = {}
    rng = random.Random(3)
    for _ in range(3):
        with ServeProcess(tmp_path, config, environ={"MAIN_KEY": "sk-provider-canary"}) as live:
            callers = Callers(live.url, BODY)
            time.sleep(0.7 + rng.random() / 5)
            live.signal(signal.SIGKILL)
            live.wait()
            callers.join()
            told |= callers.told
    with ServeProcess(tmp_path, config, environ={"MAIN_KEY": "sk-provider-canary"}) as last:
        last.signal(signal.SIGTERM)
        last.wait()
    rows = ledger(url)
    by_request = {row.request_id: row for row in rows}
    assert len(told) > 50
    assert len(by_request) == len(rows)
    assert all(row.settled_at is not None for row in rows)
    for request_id, cost in told.items():
        assert by_request[request_id].cost_source == "usage"
        assert usd(by_request[request_id].cost_pico) == cost
    lost = [row for row in rows if row.outcome == "lost"]
    assert {row.cost_source for row in lost} <= {"estimate"}
    # whatever was sent is in the ledger, and nothing is but what may have been
    assert len(provider.chats) <= len(rows) <= len(provider.chats) + len(lost)


@pytest.mark.slow
def test_a_window_is_not_overspent_by_dying(
    provider: FakeProvider, storage: tuple[str, str], tmp_path: Path
) -> None:
    url, section = storage
    provider.script("*", Behaviour(usage=USAGE, first_delay_s=0.02))
    window = "routing: {window_budgets: [{amount_usd: 0.2, window_s: 3600}]}\n"
    config = config_for(provider.base_url, window + section)
    for _ in range(3):
        with ServeProcess(tmp_path, config, environ={"MAIN_KEY": "sk-provider-canary"}) as live:
            callers = Callers(live.url, DEAR)
            time.sleep(0.5)
            live.signal(signal.SIGKILL)
            live.wait()
            callers.join()
    with ServeProcess(tmp_path, config, environ={"MAIN_KEY": "sk-provider-canary"}) as live:
        wait_until(lambda: _refused(live.url))
    # what died unseen is billed at the mean, and really was at most what was reserved
    known = sum(usd(row.cost_pico) for row in ledger(url) if row.outcome == "answered")
    assert known <= Decimal("0.2")
    assert sum(usd(row.cost_pico) for row in ledger(url)) >= Decimal("0.19")


def _refused(url: str) -> bool:
    answer = httpx.post(f"{url}/v1/chat/completions", json=DEAR, trust_env=False, timeout=10)
    return answer.status_code == 429


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
