"""The model service over real sockets: its routes, its bounds, how it starts and how it stops."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from command_line import p2l_router
from live_model import LiveModel
from numpy.typing import NDArray
from tiny_checkpoint import MODELS, write_checkpoint

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint
from p2l_model.engine.base import EngineLimits
from p2l_model.engine.load import load_engine
from p2l_model.types import Conversation
from server.scoring.service.service import ServiceLimits

COMMAND = str(Path(sys.executable).parent / "p2l-router")
USER = [{"role": "user", "content": "hello world"}]
CANARY = "zebra42canary"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("service") / "checkpoint")


@pytest.fixture(scope="module")
def live(folder: Path) -> Iterator[LiveModel]:
    with LiveModel(folder, cache_size=8) as model:
        yield model


@pytest.fixture
def client(live: LiveModel) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http:
        yield http


class HeldEngine:
    """A real engine that loads and scores when it is let."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._engine = load_engine(checkpoint, n_threads=1)  # one prompt at a time
        self.limits: EngineLimits = self._engine.limits
        self.warm, self.gate = threading.Event(), threading.Event()
        self.n_scored = 0

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self.gate.wait(10)
        self.n_scored += len(batch)
        return self._engine.features(batch)

    def warm_up(self) -> None:
        self.warm.wait(10)

    def close(self) -> None:
        self._engine.close()


@pytest.mark.slow
def test_score_gives_what_the_checkpoint_says(client: httpx.Client, folder: Path) -> None:
    turns = [*USER, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "bye"}]
    body = client.post("/v1/score", json={"conversations": [USER, turns]}).json()
    assert (body["models"], body["family"]) == (MODELS, "grk")
    checkpoint = load_checkpoint(folder)
    for item, texts in zip(body["data"], [("hello world",), ("hello world", "bye")], strict=True):
        ids = checkpoint.prompt.encode(Conversation(texts))
        board = checkpoint.leaderboard(load_engine(checkpoint).features([ids])[0])
        np.testing.assert_allclose(item["coefficients"], board.coefficients, rtol=1e-5)
        assert item["eta"] == pytest.approx(board.eta, rel=1e-5)
        assert item["n_tokens"] == len(ids)
        assert len(item["expected_output_tokens"]) == 3
        assert item["expected_output_tokens"][2] is None, "a length that is not known is null"


def test_predict_is_the_references(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"prompt": ["hello world"]}).json()
    scored = client.post("/v1/score", json={"conversations": [USER]}).json()["data"][0]
    assert set(answer) == {"coefs", "eta"}
    assert (answer["coefs"], answer["eta"]) == (scored["coefficients"], scored["eta"])
    assert client.get("/models").json() == {"models": MODELS}


def test_an_eta_of_zero_is_a_number(tmp_path: Path) -> None:
    """Zero is a tie parameter like any other; null is for families that have none."""
    with LiveModel(write_checkpoint(tmp_path / "grk", zero_eta=True)) as model:
        predicted = httpx.post(f"{model.url}/predict", json={"prompt": ["x"]}, trust_env=False)
        scored = httpx.post(
            f"{model.url}/v1/score", json={"conversations": [USER]}, trust_env=False
        )
    assert predicted.json()["eta"] == 0.0
    assert scored.json()["data"][0]["eta"] == 0.0


def test_a_family_without_eta_says_null(tmp_path: Path) -> None:
    from p2l_model.types import PreferenceFamily

    with LiveModel(write_checkpoint(tmp_path / "bt", PreferenceFamily.BT)) as model:
        answer = httpx.post(f"{model.url}/predict", json={"prompt": ["x"]}, trust_env=False)
    assert answer.json()["eta"] is None


def test_the_checkpoint_tells_a_gateway_what_it_needs(client: httpx.Client) -> None:
    told = client.get("/v1/checkpoint").json()
    assert told["marginal"]["coefficients"] == [0.5, 0.0, -0.5]
    assert (told["models"], told["family"], told["max_tokens"]) == (MODELS, "grk", 48)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/score", {}, "conversations"),
        ("/v1/score", {"conversations": []}, "conversations"),
        ("/v1/score", {"conversations": "hello"}, "conversations"),
        ("/v1/score", {"conversations": [USER] * 2000}, "conversations"),
        ("/v1/score", {"conversations": [USER, "hello"]}, "conversations[1]"),
        ("/v1/score", {"conversations": [[{"content": "x"}]]}, "conversations[0]"),
        ("/predict", {"prompt": []}, "prompt"),
        ("/predict", {"prompt": [1]}, "prompt"),
        ("/predict", {"messages": USER}, "prompt"),
    ],
)
def test_bad_bodies_name_the_field(
    client: httpx.Client, path: str, body: object, param: str
) -> None:
    answer = client.post(path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, "invalid_request")


def test_other_errors_are_in_the_envelope(client: httpx.Client, folder: Path) -> None:
    assert client.post("/v1/score", content=b"{").json()["error"]["type"] == "invalid_request_error"
    assert client.get("/nowhere").json()["error"]["message"].startswith("GET /nowhere")
    assert client.get("/v1/score").status_code == 405
    with LiveModel(folder, limits=ServiceLimits(max_body_bytes=100)) as small:
        answer = httpx.post(f"{small.url}/predict", json={"prompt": ["x" * 200]}, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_odd_text_is_scored(client: httpx.Client) -> None:
    content = json.dumps({"prompt": ["\x00 [CLS] \U0010ffff"]})
    assert client.post("/predict", content=content).status_code == 200
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]
    body = {"conversations": [[{"role": "user", "content": parts}], [{"role": "system"}]]}
    assert client.post("/v1/score", json=body).status_code == 200


def test_keys(folder: Path) -> None:
    with (
        LiveModel(folder, key="sesame") as model,
        httpx.Client(base_url=model.url, trust_env=False) as http,
    ):
        for path in ("/models", "/v1/checkpoint", "/metrics"):
            assert http.get(path).status_code == 401
            assert http.get(path, headers={"api-key": "wrong"}).status_code == 401
            assert http.get(path, headers={"api-key": "sesame"}).status_code == 200
            assert http.get(path, headers={"authorization": "Bearer sesame"}).status_code == 200
        assert http.get("/healthz").status_code == http.get("/readyz").status_code == 200


def test_ready_only_when_warm(folder: Path) -> None:
    engines: list[HeldEngine] = []

    def engine(checkpoint: Checkpoint) -> HeldEngine:
        engines.append(HeldEngine(checkpoint))
        return engines[0]

    model = LiveModel(folder, engine=engine).start()
    with httpx.Client(base_url=model.url, trust_env=False, timeout=20) as http:
        assert http.get("/healthz").status_code == 200
        for answer in (http.get("/readyz"), http.post("/predict", json={"prompt": ["x"]})):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
            assert int(answer.headers["retry-after"]) >= 1
        for _ in range(200):  # it is loaded in a thread of its own
            if engines:
                break
            time.sleep(0.05)
        engines[0].gate.set()
        engines[0].warm.set()
        model.until_ready()
        assert http.post("/predict", json={"prompt": ["x"]}).status_code == 200
    model.stop()


def test_an_engine_that_does_not_load_is_told(folder: Path) -> None:
    def engine(_: Checkpoint) -> HeldEngine:
        raise MemoryError("no room")

    model = LiveModel(folder, engine=engine).start()
    deadline = time.monotonic() + 30
    while not model.failures and time.monotonic() < deadline:
        time.sleep(0.01)
    model.stop()
    assert "MemoryError: no room" in str(model.failures[0])


def test_a_full_queue_refuses_and_a_stop_finishes_what_is_under_way(folder: Path) -> None:
    engines: list[HeldEngine] = []

    def engine(checkpoint: Checkpoint) -> HeldEngine:
        engines.append(HeldEngine(checkpoint))
        engines[0].warm.set()
        return engines[0]

    model = LiveModel(folder, engine=engine, max_waiting=4).start().until_ready()
    url = model.url

    def ask(text: str) -> httpx.Response:
        return httpx.post(f"{url}/predict", json={"prompt": [text]}, trust_env=False, timeout=20)

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, letter) for letter in "abcd"]
        deadline = time.monotonic() + 30
        metrics = ""
        while "p2l_model_waiting 4.0" not in metrics and time.monotonic() < deadline:
            metrics = httpx.get(f"{url}/metrics", trust_env=False).text
        refused = ask("e")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        body = {"conversations": [USER] * 2}
        assert httpx.post(f"{url}/v1/score", json=body, trust_env=False).status_code == 503
        model.server.should_exit = True
        time.sleep(0.2)
        engines[0].gate.set()
        assert [future.result().status_code for future in asked] == [200] * 4
    model.stop()


def test_a_caller_who_hangs_up_is_not_scored(folder: Path) -> None:
    engines: list[HeldEngine] = []

    def engine(checkpoint: Checkpoint) -> HeldEngine:
        engines.append(HeldEngine(checkpoint))
        engines[0].warm.set()
        return engines[0]

    with LiveModel(folder, engine=engine) as model:
        for letter in "abc":  # the first is with the engine already, the others wait
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(
                    f"{model.url}/predict", json={"prompt": [letter]}, trust_env=False, timeout=0.2
                )
        deadline, metrics = time.monotonic() + 10, ""
        while 'how="left"} 2.0' not in metrics and time.monotonic() < deadline:
            metrics = httpx.get(f"{model.url}/metrics", trust_env=False).text
        engines[0].gate.set()
    assert engines[0].n_scored == 1


def test_metrics_tell_and_hold_no_prompt(client: httpx.Client) -> None:
    for _ in range(2):
        client.post("/predict", json={"prompt": [CANARY]})
    client.get(f"/{CANARY}")
    text = client.get("/metrics").text
    for name in ("queue", "tokenise", "inference"):
        assert re.search(rf"p2l_model_{name}_seconds_count [1-9]", text)
    assert 'p2l_model_spared_total{how="cached"}' in text
    assert re.search(r'p2l_model_requests_total{code="200",route="/predict"} [1-9]', text)
    assert CANARY not in text


def environment(**values: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "P2L_MODEL_API_KEY"} | values


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--host", "0.0.0.0"), "P2L_MODEL_API_KEY"),
        (("--checkpoint", "/nowhere"), "cannot be read"),
        (("--vllm-arg", "nothing"), "KEY=VALUE"),
        (("--max-waiting", "0"), "at least 1"),
        (("--max-tokens", "3"), "at least 8"),
    ],
)
def test_the_command_refuses_with_status_2(args: tuple[str, ...], told: str) -> None:
    done = p2l_router("model", *args, environ=environment())
    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.slow
def test_the_command_serves_and_drains_on_sigterm(folder: Path) -> None:
    args = [COMMAND, "model", "--checkpoint", str(folder), "--port", "0", "--host", "127.0.0.1"]
    process = subprocess.Popen(args, stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stderr is not None
    told = [process.stderr.readline() for _ in range(4)]
    assert "3 models, 48 tokens" in told[1]
    assert "ready" in told[3]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) in (0, -signal.SIGTERM)
    process.stderr.close()


def test_bodies_are_json_that_says_what_they_are(client: httpx.Client) -> None:
    answer = client.post("/v1/score", content=json.dumps({"conversations": [USER]}))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["object"] == "list"
