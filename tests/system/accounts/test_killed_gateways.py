"""Sessions with budgets at two gateways on one Redis, which are killed in turn with requests under
way: what the provider has answered, whoever has heard of it, costs no session more than its budget.
"""

from __future__ import annotations

import random
import re
import signal
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import config_for
from serve_process import ServeProcess
from services import PostgresServer, RedisServer

pytestmark = [pytest.mark.services, pytest.mark.slow]
ENVIRON = {"MAIN_KEY": "sk-provider-canary"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 99, "total_tokens": 102}
COST = Decimal("0.0015")
N_SESSIONS = 24
N_CALLERS = 8


class Callers:
    """They ask both gateways for random sessions, until `over` is set."""

    def __init__(self, urls: list[str], budgets: list[Decimal], seed: int) -> None:
        self.urls = urls
        self.budgets = budgets
        self.over = threading.Event()
        self.counts: Counter[str] = Counter()
        self._seed = seed

    def call(self, number: int) -> None:
        chance = random.Random(self._seed * 100 + number)
        with httpx.Client(trust_env=False, timeout=20) as http:
            while not self.over.is_set():
                self.counts[self._one(http, chance)] += 1

    def _one(self, http: httpx.Client, chance: random.Random) -> str:
        job = chance.randrange(N_SESSIONS)
        text = {"role": "user", "content": f"job {job}, please"}
        body = {"model": "dear", "max_tokens": 110, "messages": [text]}
        headers = {"x-session-id": f"job {job}", "x-session-budget": str(self.budgets[job])}
        url = f"{chance.choice(self.urls)}/v1/chat/completions"
        try:
            answer = http.post(url, json=body, headers=headers)
        except httpx.TransportError:
            time.sleep(0.05)
            return "lost"
        if answer.status_code != 200:
            time.sleep(0.02)
        return str(answer.status_code)


@pytest.mark.parametrize("shares_database", [True, False])
def test_no_session_costs_more_than_its_budget(
    provider: FakeProvider,
    redis: RedisServer,
    postgres: PostgresServer,
    tmp_path: Path,
    shares_database: bool,
) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE, first_delay_s=0.05))
    chance = random.Random(7)
    # some are spent within a second, and some last until the end
    most = [200, 3_000] * (N_SESSIONS // 2)
    budgets = [Decimal(chance.randint(most_of // 4, most_of)).scaleb(-4) for most_of in most]
    prefix = f"t{uuid.uuid4().hex[:8]}"
    shared = postgres.database()
    gateways = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        url = shared if shares_database else f"sqlite:///{folder}/p2l.db"
        extra = (
            f"redis: {{url: '{redis.url}', prefix: {prefix}}}\n"
            f'storage: {{url: "{url}", spool_dir: "{folder}/spool"}}\n'
            "routing: {retries: 0, breaker: {consecutive_failures: 1000000}}\n"
        )
        config = config_for(provider.base_url, extra)
        gateways.append(ServeProcess(folder, config, environ=ENVIRON))
    with ExitStack() as stack, ThreadPoolExecutor(N_CALLERS) as pool:
        for gateway in gateways:
            stack.enter_context(gateway)
        callers = Callers([gateway.url for gateway in gateways], budgets, 1)
        working = [pool.submit(callers.call, number) for number in range(N_CALLERS)]
        try:
            for turn in (0, 1, 0):
                time.sleep(1.0)
                gateways[turn].signal(signal.SIGKILL)
                gateways[turn].wait()
                stack.enter_context(gateways[turn])
                callers.urls[turn] = gateways[turn].url
            time.sleep(1.0)
        finally:
            callers.over.set()
        for work in working:
            work.result()
    counts = callers.counts
    assert counts["200"] > 30
    assert counts["429"] > 30
    assert counts["lost"] > 0
    assert counts.keys() <= {"200", "429", "lost", "503"}
    billed = spent(provider)
    assert sum(billed.values()) > counts["200"] * COST, "an answer that nobody has heard of"
    over = {job: (cost, budgets[job]) for job, cost in billed.items() if cost > budgets[job]}
    assert over == {}


def spent(provider: FakeProvider) -> dict[int, Decimal]:
    """What the provider has answered for each session, in USD."""
    found: Counter[int] = Counter()
    for chat in provider.chats:
        job = re.match(r"job (\d+),", chat.body["messages"][-1]["content"])
        assert job is not None
        found[int(job[1])] += 1
    return {job: n * COST for job, n in found.items()}
