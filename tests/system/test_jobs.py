"""The gateway's own work in the background, each piece of it: what fails once goes on, and the end
of one part is not the end of the others."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for

from p2l_model.engine.scorer import FixedScorer
from server.accounts.accounts import Accounts
from server.gateway.gateway import Gateway
from server.scoring.client import scorer as remote
from server.scoring.client.scorer import RemoteScorer
from server.storage import housekeeping
from server.storage.store import Store
from server.tasks import learn_local
from server.tasks import refresh_keys as stored_keys

ENVIRON = {"MAIN_KEY": "sk-provider-canary"}
CHAT = {"model": "cheap", "messages": [{"role": "user", "content": "Hi"}]}
PRICES = 'prices: {update: true, update_url: "http://127.0.0.1:9/none", update_every_s: 0.05}\n'


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def job(live: LiveGateway, name: str) -> Any:
    return next(job for job in live.state.jobs if job.name == name)


# Where each piece of work can be broken: (its pause, what it calls).
JOBS = {
    "keys": ((stored_keys, "_POLL_S"), (stored_keys, "keys_version")),
    "heartbeat": ((housekeeping, "_BEAT_S"), (Store, "beat")),
    "lost_attempts": ((housekeeping, "_SWEEP_S"), (Store, "close_stale")),
    "pruning": ((housekeeping, "_PRUNE_S"), (housekeeping, "prune_all")),
    "local_layer": ((learn_local, "_STALE_S"), (learn_local, "current")),
    "leaderboards": ((remote, "_REFRESH_S"), (remote, "knowledge_of")),
}


@pytest.mark.parametrize("name", JOBS)
def test_what_nobody_foresaw_does_not_end_it(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pause, place = JOBS[name]
    monkeypatch.setattr(*pause, 0.05)
    scorer = FixedScorer({"dear": 1.5, "middle": 0.4, "cheap": -0.7})
    if name == "leaderboards":
        scorer = RemoteScorer(["http://127.0.0.1:9"], timeout_s=1)  # type: ignore[assignment]

        async def nothing(*_: Any) -> None:
            return None

        monkeypatch.setattr(*place, nothing)
    config = config_for(provider.base_url, "learning: {every_s: 0.05}")
    with LiveGateway(config, ENVIRON, scorer) as live:
        with monkeypatch.context() as patch:
            fail: Any = _fail if name != "leaderboards" else _fail_later
            patch.setattr(*place, fail)
            wait_until(lambda: job(live, name).failures >= 2)
        wait_until(lambda: job(live, name).age_s < 0.5)


def _fail(*_: Any) -> Any:
    raise RuntimeError("what nobody foresaw")


async def _fail_later(*_: Any) -> Any:
    raise RuntimeError("what nobody foresaw")


def test_a_list_of_prices_that_cannot_be_had_is_a_failure_that_does_not_stop_requests(
    provider: FakeProvider,
) -> None:
    with LiveGateway(config_for(provider.base_url, PRICES), ENVIRON) as live:
        wait_until(lambda: job(live, "prices").failures >= 1)
        assert httpx.get(f"{live.url}/readyz", trust_env=False).status_code == 200


async def test_a_service_that_talks_nonsense_keeps_no_other_from_being_asked() -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = b'{"models": ["a", "b"], "family": "bt", "marginal": {"coefficients": [0, 1]}}'
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    # httpx.InvalidURL is none of its HTTPErrors
    urls = ["http://[::1]:99999999", f"http://127.0.0.1:{server.server_port}"]
    scorer = RemoteScorer(urls, timeout_s=5)
    try:
        await scorer.learn()
    finally:
        await scorer.close()
        server.shutdown()
        server.server_close()
        thread.join()
    assert asked == ["/v1/checkpoint"]


@pytest.mark.parametrize(
    ("part", "method"), [(Gateway, "close"), (Accounts, "close"), (FixedScorer, "close")]
)
def test_whatever_fails_at_the_end_the_ledger_is_written_and_closed(
    provider: FakeProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: type,
    method: str,
) -> None:
    monkeypatch.setattr(part, method, _failing(getattr(part, method)))
    storage = f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}'
    with LiveGateway(config_for(provider.base_url, storage), ENVIRON) as live:
        answer = httpx.post(f"{live.url}/v1/chat/completions", json=CHAT, trust_env=False)
        assert answer.status_code == 200
    assert list((tmp_path / "p2l.db.spool").iterdir()) == []
    with closing(sqlite3.connect(tmp_path / "p2l.db")) as rows:
        (settled,) = rows.execute("SELECT settled_at IS NOT NULL FROM attempts").fetchall()
    rows.close()
    assert settled == (1,)


def _failing(close: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def close_and_fail(part: Any) -> None:
        await close(part)
        raise RuntimeError("what nobody foresaw")

    return close_and_fail


async def test_a_start_that_fails_closes_the_ledger_too(
    provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FixedScorer, "start", _fail_later)
    storage = f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}'
    gateway = LiveGateway(config_for(provider.base_url, storage), ENVIRON)
    app: Any = gateway._server.config.app
    with pytest.raises(RuntimeError, match="nobody foresaw"):
        async with app.router.lifespan_context(app):
            pass
    assert list((tmp_path / "p2l.db.spool").iterdir()) == []
    gateway._listener.close()
    gateway._folder.cleanup()
