"""A gateway whose model is elsewhere: replicas that are well, slow, busy, gone, or talk rubbish."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from command_line import p2l_router
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for
from live_model import LiveModel
from tiny_checkpoint import write_checkpoint

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.engine.load import load_engine
from p2l_model.engine.replicas import Replicas
from p2l_model.engine.scorer import ScorerOverloadedError
from p2l_model.errors import ScoringError
from p2l_model.types import Conversation
from server.build import build_scorer
from server.catalogue.cards import build_catalogue
from server.config.file import ConfigError, parse_settings
from server.config.secret import Secret
from server.config.settings import ScorerSettings
from server.readiness.objectives import check_objectives
from server.scoring.client.scorer import RemoteScorer

HELLO = Conversation(("hello world",))
CHAT = {"model": "p2l", "messages": [{"role": "user", "content": "hello world"}]}
KEY = "sk-provider-canary"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("remote") / "checkpoint")


@pytest.fixture(scope="module")
def live(folder: Path) -> Iterator[LiveModel]:
    with LiveModel(folder) as model:
        yield model


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def service(status: int, body: bytes, headers: dict[str, str] | None = None) -> Iterator[str]:
    """Answers every POST so and every GET with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._send(status, body)

        def do_GET(self) -> None:
            self._send(404, b"{}")

        def _send(self, code: int, content: bytes) -> None:
            self.send_response(code)
            for name, value in ({"content-length": str(len(content))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def silence() -> Iterator[socket.socket]:
    """Takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener


def n_waiting(listener: socket.socket) -> int:
    """How many connections have come and were not answered."""
    listener.setblocking(False)
    n_found = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            n_found += 1
    return n_found


async def scored(scorer: RemoteScorer, n: int = 1) -> list[Any]:
    results = await asyncio.gather(*(scorer.score(HELLO) for _ in range(n)))
    await scorer.close()
    return [result.leaderboard for result in results]


async def test_the_leaderboard_is_the_services(live: LiveModel, folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    ids = checkpoint.prompt.encode(HELLO)
    expected = checkpoint.leaderboard(load_engine(checkpoint).features([ids])[0])
    scorer = RemoteScorer([live.url], timeout_s=5)
    assert (scorer.models, scorer.marginal) == ((), None)
    assert await scorer.learn()
    assert scorer.models == expected.models
    assert scorer.marginal is not None
    assert list(scorer.marginal.coefficients) == [0.5, 0.0, -0.5]
    (board,) = await scored(scorer)
    np.testing.assert_allclose(board.coefficients, expected.coefficients, rtol=1e-6)
    assert (board.family, board.models) == (expected.family, expected.models)
    assert board.eta == pytest.approx(expected.eta)
    np.testing.assert_allclose(board.expected_output_tokens, expected.expected_output_tokens)


async def test_a_lone_surrogate_crosses(live: LiveModel) -> None:
    scorer = RemoteScorer([live.url], timeout_s=5)
    await scorer.score(Conversation(("a\ud800b",)))
    await scorer.score(Conversation(()))
    await scorer.close()


async def test_one_that_is_gone_costs_nothing(live: LiveModel) -> None:
    scorer = RemoteScorer([f"http://127.0.0.1:{free_port()}", live.url], timeout_s=5)
    assert len(await scored(scorer, 8)) == 8


async def test_one_that_hangs_leaves_time_for_another(live: LiveModel) -> None:
    with silence() as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        scorer = RemoteScorer([url, live.url], timeout_s=1.0)
        for _ in range(8):
            await scorer.score(HELLO)
        # half of the patience each time, and after three times it is left alone
        assert 1 <= n_waiting(hanging) <= 3
        await scorer.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"oops"),
        (401, b"{}"),
        (200, b"not json"),
        (200, b"[]"),
        (200, b'{"models": ["a"], "family": "elo", "data": []}'),
        (200, b'{"models": ["a"], "family": "bt", "data": []}'),
        (200, b'{"models": ["a", "b"], "family": "bt", "data": [{"coefficients": [1]}]}'),
        (200, b'{"models": ["a"], "family": "bt", "data": [{"coefficients": [null]}]}'),
        (200, b'{"models": ["a"], "family": "bt", "data": [{"coefficients": ["x"]}]}'),
        (200, b'{"models": ["a"], "family": "rk", "data": [{"coefficients": [1], "eta": "x"}]}'),
    ],
)
async def test_rubbish_is_another_replicas_turn(live: LiveModel, status: int, body: bytes) -> None:
    with service(status, body) as bad:
        scorer = RemoteScorer([bad, live.url], timeout_s=5)
        assert len(await scored(scorer, 4)) == 4
        alone = RemoteScorer([bad], timeout_s=5)
        with pytest.raises(ScoringError):
            await alone.score(HELLO)
        await alone.close()


async def test_a_busy_one_is_left_alone_and_the_prompts_own_fault_is_not_tried_again(
    live: LiveModel,
) -> None:
    with service(503, b"{}", {"retry-after": "7"}) as busy:
        scorer = RemoteScorer([busy], timeout_s=5)
        with pytest.raises(ScoringError, match="busy"):
            await scorer.score(HELLO)
        with pytest.raises(ScorerOverloadedError):
            await scorer.score(HELLO)
        await scorer.close()
        assert len(await scored(RemoteScorer([busy, live.url], timeout_s=5), 4)) == 4
    with service(413, b"{}") as picky:
        scorer = RemoteScorer([picky, picky], timeout_s=5)
        with pytest.raises(ScoringError, match="refused the prompt"):
            await scorer.score(HELLO)
        await scorer.close()


async def test_a_service_with_score_alone_is_enough() -> None:
    body = {"models": ["a", "b"], "family": "bt", "data": [{"coefficients": [1.0, 2.0]}]}
    with service(200, json.dumps(body).encode()) as plain:
        scorer = RemoteScorer([plain], timeout_s=5)
        assert await scorer.learn()
        assert scorer.models == ("a", "b")
        assert scorer.marginal is not None
        (board,) = await scored(scorer)
        assert board.eta is None
        assert board.expected_output_tokens is None


def test_the_least_loaded_is_asked_and_the_ill_are_tried_one_request_at_a_time() -> None:
    now = [100.0]
    replicas = Replicas(["http://a", "http://b", "http://c"], lambda: now[0])
    a, b, c = replicas
    with replicas.asking(a), replicas.asking(a), replicas.asking(b):
        assert [r.url for r in replicas.usable([])] == ["http://c", "http://b", "http://a"]
    first = {replicas.usable([])[0].url for _ in range(3)}
    assert len(first) == 3, "equals take turns"
    for _ in range(2):
        replicas.failed(a)
    assert a in replicas.usable([]), "a failure or two may be the prompts'"
    replicas.failed(a)
    replicas.failed(b, gone=True)
    assert replicas.usable([]) == [c]
    assert replicas.usable([c]) == []
    now[0] += 0.6
    assert set(map(id, replicas.usable([]))) == {id(a), id(b), id(c)}
    with replicas.asking(a):
        assert a not in replicas.usable([]), "one request finds out whether it is well again"
    replicas.failed(a)
    now[0] += 0.6
    assert a not in replicas.usable([]), "the pause doubles"
    replicas.answered(a)
    assert a in replicas.usable([])
    for _ in range(40):
        replicas.failed(b)
    assert b.until_s - now[0] <= 15.0


def routed_by(provider: FakeProvider, scorer: str) -> str:
    config = config_for(provider.base_url)
    lines = [line for line in config.splitlines() if not line.startswith("scorer:")]
    for ours, theirs in (("dear", "alpha"), ("middle", "beta"), ("cheap", "gamma")):
        lines = [line.replace(f"  {ours}: {{", f"  {ours}: {{leaderboard_name: {theirs}, ")
                 for line in lines]  # fmt: skip
    return "\n".join([*lines, scorer])


@pytest.mark.slow
def test_a_gateway_outlives_its_services(
    provider: FakeProvider, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    settings = (
        f"scorer: {{url: 'http://127.0.0.1:{port}', api_key_env: MODEL_KEY, timeout_ms: 900}}"
    )
    monkeypatch.setenv("MODEL_KEY", "sesame")
    with LiveGateway(routed_by(provider, settings), {"MAIN_KEY": KEY}) as gateway:

        def chat() -> httpx.Response:
            return httpx.post(f"{gateway.url}/v1/chat/completions", json=CHAT, trust_env=False)

        ready = f"{gateway.url}/readyz"
        assert httpx.get(ready, trust_env=False).status_code == 503
        assert chat().status_code == 503, "nothing is known yet, not even a marginal leaderboard"
        model = LiveModel(folder, key="sesame", port=port).start().until_ready()
        deadline = time.monotonic() + 30
        while httpx.get(ready, trust_env=False).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        answer = chat()
        assert answer.status_code == 200
        assert "x-p2l-scoring" not in answer.headers
        model.stop()
        answer = chat()
        assert answer.status_code == 200
        assert answer.headers["x-p2l-scoring"] == "marginal"
        assert answer.headers["x-p2l-model"] == "dear", "the marginal leaderboard's best"
        told = httpx.post(f"{gateway.url}/v1/route", json=CHAT, trust_env=False).json()
        assert told["scoring"] == "marginal"


@pytest.mark.parametrize(
    ("scorer", "told"),
    [
        ("{url: 'ftp://x'}", "http"),
        ("{url: 'http://'}", "name a host"),
        ("{url: []}", "at least one"),
        ("{url: ['http://a', 'http://a']}", "twice"),
        ("{url: 'http://a', fixed: {x: 1}}", "not both"),
        ("{api_key_env: X}", "url"),
        ("{max_tokens: 2}", "max_tokens"),
    ],
)
def test_settings_that_make_no_sense(scorer: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_settings(f"providers: {{}}\nmodels: {{}}\nscorer: {scorer}\n")


async def test_a_key_that_is_not_set_and_a_checkpoint_beside_the_url(folder: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ConfigError, match="MODEL_KEY"):
        build_scorer(ScorerSettings(url=address, api_key_env="MODEL_KEY"), {})
    scorer = build_scorer(ScorerSettings(url=[address], checkpoint=str(folder)), {})
    assert scorer.models == ("alpha", "beta", "gamma"), "though no service answers"
    assert await scorer.count_tokens("twelve bytes") == 3
    assert "sesame" not in repr(RemoteScorer([address], timeout_s=1, key=Secret("sesame")))


def test_check_asks_the_service(live: LiveModel, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "providers: {main: {kind: sandbox}}\n"
        "models: {alpha: {provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}\n"
        f"scorer: {{url: '{live.url}'}}\n"
    )
    command = ("check", "--config", str(path))
    done = p2l_router(*command, "--json")
    assert json.loads(done.stdout)["leaderboard_only"] == ["beta", "gamma"]
    path.write_text(path.read_text().replace(live.url, f"http://127.0.0.1:{free_port()}"))
    done = p2l_router(*command)
    assert done.returncode == 2
    assert "p2l-router model" in done.stderr


def test_what_the_service_cannot_predict_is_refused_at_start(live: LiveModel) -> None:
    scoring = f'scorer: {{url: "{live.url}"}}\nrouting: {{objective: expected_score}}'
    settings = parse_settings(config_for("http://127.0.0.1:9/v1").split("scorer:")[0] + scoring)
    with pytest.raises(ConfigError, match=r"routing\.objective: expected_score needs"):
        check_objectives(settings, build_catalogue(settings), {})
