"""Two gateways behind nginx, with one PostgreSQL and one Redis: one budget, whichever is asked."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import httpx
import psycopg
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import config_for
from serve_process import ServeProcess
from services import PostgresServer, RedisServer, free_port

pytestmark = [pytest.mark.services, pytest.mark.slow]
CONF = Path(__file__).parents[2] / "deploy" / "nginx" / "nginx.conf"
KEY = "sk-provider-canary"
USAGE = {"prompt_tokens": 8, "completion_tokens": 100, "total_tokens": 108}
COST = (Decimal(8) * 5 + Decimal(100) * 15) / 10**6  # USD, 0.00154
WORST = Decimal("0.0017")
N_CALLERS = 6
AMOUNT = Decimal("0.93")
BODY = {"model": "dear", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 110}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(api_key=KEY) as fake:
        yield fake


@contextmanager
def nginx(folder: Path, *gateways: str) -> Iterator[str]:
    """The configuration of deploy/, with these gateways."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    port = free_port()
    text = CONF.read_text().replace("listen 8080", f"listen 127.0.0.1:{port}")
    for name, url in zip(("gateway-a:8000", "gateway-b:8000"), gateways, strict=True):
        assert name in text
        text = text.replace(name, url.removeprefix("http://"))
    conf = folder / "nginx.conf"
    conf.write_text(f"pid {folder}/nginx.pid; error_log {folder}/nginx.log; daemon off;\n{text}")
    command = [program, "-p", str(folder), "-c", str(conf)]
    subprocess.run([*command, "-t", "-q"], check=True)
    process = subprocess.Popen(command)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{url}/healthz", trust_env=False)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)


def config(provider: FakeProvider, database: str, redis: str, folder: Path) -> str:
    return config_for(
        provider.base_url,
        f"""
storage: {{url: "{database}", spool_dir: "{folder}/spool", unknown_cost: worst}}
redis: {{url: "{redis}", prefix: "{folder.name}"}}
routing: {{retries: 0, window_budgets: [{{amount_usd: {AMOUNT}, window_s: 3600}}],
          breaker: {{consecutive_failures: 1000000}}}}
""",
    )


class Callers:
    """Ask without end; every answer is counted."""

    def __init__(self, url: str, n: int) -> None:
        self.statuses: Counter[int | str] = Counter()
        self.cost = Decimal(0)
        self._url = url
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(n)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, status: int, n: int, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.statuses[status] < n:
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.02)

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=20) as http:
            while not self._over.is_set():
                try:
                    answer = http.post("/v1/chat/completions", json=BODY)
                except httpx.TransportError as error:
                    with self._lock:
                        self.statuses[type(error).__name__] += 1
                    continue
                with self._lock:
                    self.statuses[answer.status_code] += 1
                    if answer.status_code == 200:
                        self.cost += Decimal(answer.headers["x-p2l-cost-usd"])


def test_one_budget_for_both_while_one_is_killed_and_returns(
    tmp_path: Path, provider: FakeProvider, postgres: PostgresServer, redis: RedisServer
) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE, first_delay_s=0.1))
    database = postgres.database()
    environ = {"MAIN_KEY": KEY}
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    texts = [config(provider, database, redis.url, folder) for folder in folders]
    texts = [text.replace('prefix: "b"', 'prefix: "a"') for text in texts]
    port = free_port()
    with ServeProcess(folders[1], texts[1], environ=environ) as other:
        first = ServeProcess(folders[0], texts[0], "--port", str(port), environ=environ)
        with first, nginx(tmp_path, first.url, other.url) as url:
            callers = Callers(url, N_CALLERS)
            callers.wait_for(200, 60)
            first.signal(signal.SIGKILL)
            first.wait()
            before = callers.statuses[200]
            callers.wait_for(200, before + 60)  # the other goes on alone
            with ServeProcess(folders[0], texts[0], "--port", str(port), environ=environ):
                callers.wait_for(429, 60)
                time.sleep(1.0)
                callers.stop()
                left = httpx.post(f"{url}/v1/chat/completions", json=BODY, trust_env=False)
                assert left.json()["error"]["code"] == "budget_exhausted"
    query = (
        "select sum(cost_pico), sum(cost_pico) filter (where outcome = 'lost'),"
        " count(*) filter (where outcome = 'answered'), count(*) filter (where settled_at is null),"
        " count(distinct instance) from attempts"
    )
    with psycopg.connect(database) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    spent, lost = (Decimal(pico or 0).scaleb(-12) for pico in row[:2])
    answered, open_, instances = row[2:]
    assert open_ == 0
    assert instances == 3, "both gateways have answered, and the one that returned"
    # never above the amount, and no more left of it than one request needs: but for what the killed
    # one had reserved in Redis and not yet written down, which counts until its lease ends
    assert spent <= AMOUNT
    assert AMOUNT - spent < 2 * COST + N_CALLERS * WORST
    # what callers were told, what the ledger has and what the provider has seen agree
    assert spent == COST * answered + lost
    assert callers.cost == COST * callers.statuses[200] <= COST * answered
    n_seen = len(provider.chats)
    assert answered <= n_seen
    assert COST * n_seen <= spent, "nothing that the provider bills is missing"
    assert set(callers.statuses) <= {200, 429, 502, "RemoteProtocolError", "ReadError"}


def test_events_pass_nginx_as_they_come(tmp_path: Path, provider: FakeProvider) -> None:
    provider.script("up-cheap", Behaviour(texts=("tick ",) * 1_000, chunk_delay_s=0.1))
    body = BODY | {"model": "cheap", "stream": True}
    with (
        ServeProcess(tmp_path, config_for(provider.base_url), environ={"MAIN_KEY": KEY}) as serve,
        nginx(tmp_path, serve.url, serve.url) as url,
        httpx.stream("POST", f"{url}/v1/chat/completions", json=body, trust_env=False) as answer,
    ):
        pieces = answer.iter_text()
        assert any("tick" in piece for piece in pieces)
        assert not provider.chats[0].over.is_set(), "the rest is not there yet"
