"""The process as it is run: draining, reloading, several workers on one port."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import config_for
from serve_process import ServeProcess

ENVIRON = {"MAIN_KEY": "sk-provider-canary"}
HELLO: dict[str, Any] = {"model": "cheap", "messages": [{"role": "user", "content": "hi"}]}
SLOW = Behaviour(texts=("tick ",) * 40, chunk_delay_s=0.05)


@pytest.fixture
def http() -> Any:
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


def stream_in_thread(url: str, outcome: dict[str, str]) -> threading.Thread:
    """A streamed request; outcome["text"] is all that came back, "broken" stands
    where the connection was."""
    begun = threading.Event()

    def run() -> None:
        body = HELLO | {"stream": True}
        with (
            httpx.Client(trust_env=False, timeout=20) as client,
            client.stream("POST", f"{url}/v1/chat/completions", json=body) as response,
        ):
            pieces = []
            try:
                for piece in response.iter_text():
                    pieces.append(piece)
                    begun.set()
            except httpx.RemoteProtocolError:
                outcome["broken"] = "yes"
            outcome["text"] = "".join(pieces)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(10)
    return thread


@pytest.mark.slow
def test_sigterm_lets_streams_finish_and_nobody_in(
    tmp_path: Path, provider: FakeProvider, http: httpx.Client
) -> None:
    provider.script("up-cheap", SLOW)
    with ServeProcess(tmp_path, config_for(provider.base_url), environ=ENVIRON) as serve:
        outcome: dict[str, str] = {}
        thread = stream_in_thread(serve.url, outcome)
        serve.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert http.get(f"{serve.url}/readyz").status_code == 503
        assert http.get(f"{serve.url}/healthz").status_code == 200
        refused = http.post(f"{serve.url}/v1/chat/completions", json=HELLO)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "overloaded"
        assert "retry-after" in refused.headers
        thread.join()
        assert outcome["text"].endswith("data: [DONE]\n\n")
        assert serve.wait() == 0
    assert serve.said.count("\n") == serve.said.count("\n  ") + 1, "nothing but the announcement"


@pytest.mark.slow
def test_sigterm_does_not_wait_for_a_body_that_does_not_come(
    tmp_path: Path, provider: FakeProvider
) -> None:
    """Its request has a place, and may take a minute to arrive."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500\r\n\r\n{"
    config = config_for(provider.base_url, "limits: {drain_s: 600, body_timeout_s: 600}")
    with ServeProcess(tmp_path, config, environ=ENVIRON) as serve:
        address = urlsplit(serve.url)
        with socket.create_connection((address.hostname or "", address.port or 0)) as caller:
            caller.settimeout(60)
            caller.sendall(head)
            time.sleep(0.3)
            serve.signal(signal.SIGTERM)
            answer = caller.recv(65536)
            assert serve.wait() == 0
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"shutting down" in answer


@pytest.mark.slow
def test_what_is_not_over_within_the_limit_ends_with_an_error_event(
    tmp_path: Path, provider: FakeProvider
) -> None:
    provider.script("up-cheap", SLOW)
    config = config_for(provider.base_url, "limits: {drain_s: 0.3}")
    with ServeProcess(tmp_path, config, environ=ENVIRON) as serve:
        outcome: dict[str, str] = {}
        thread = stream_in_thread(serve.url, outcome)
        serve.signal(signal.SIGTERM)
        thread.join()
        last = outcome["text"].strip().split("\n\n")[-1].removeprefix("data: ")
        assert json.loads(last)["error"]["code"] == "overloaded"
        assert "broken" in outcome
        assert serve.wait() == 0
    assert provider.chats[0].over.wait(5)
    assert provider.chats[0].aborted


@pytest.mark.slow
def test_sighup_takes_a_new_configuration_without_dropping_a_request(
    tmp_path: Path, provider: FakeProvider, http: httpx.Client
) -> None:
    config = config_for(provider.base_url)
    with ServeProcess(tmp_path, config, environ=ENVIRON) as serve:
        statuses: Counter[int] = Counter()
        over = threading.Event()

        def load() -> None:
            with httpx.Client(trust_env=False, timeout=20) as client:
                while not over.is_set():
                    answer = client.post(f"{serve.url}/v1/chat/completions", json=HELLO)
                    statuses[answer.status_code] += 1

        threads = [threading.Thread(target=load) for _ in range(3)]
        outcome: dict[str, str] = {}
        for thread in threads:
            thread.start()
        for round_ in range(3):
            provider.script("up-cheap", SLOW, Behaviour())
            stream = stream_in_thread(serve.url, outcome)
            fresh = f"fresh{round_}: {{provider: main, upstream_model: up-fresh}}"
            serve.config.write_text(config.replace("models:", f"models:\n  {fresh}", 1))
            serve.signal(signal.SIGHUP)
            deadline = time.monotonic() + 30
            while http.get(f"{serve.url}/v1/models/fresh{round_}").status_code != 200:
                assert time.monotonic() < deadline, serve.said
                time.sleep(0.02)
            stream.join()
            assert outcome["text"].endswith("data: [DONE]\n\n")
        over.set()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200}
        # a configuration that cannot be used changes nothing
        serve.config.write_text("models: {}")
        serve.signal(signal.SIGHUP)
        serve.wait_until_it_said("stays as it was")
        assert http.post(f"{serve.url}/v1/chat/completions", json=HELLO).status_code == 200


@pytest.mark.slow
def test_several_workers_share_a_port_and_the_dead_are_replaced(
    tmp_path: Path, provider: FakeProvider, http: httpx.Client
) -> None:
    config = config_for(provider.base_url)
    with ServeProcess(tmp_path, config, "--workers", "2", environ=ENVIRON) as serve:
        children = [int(pid) for pid in _children(serve.pid)]
        deadline = time.monotonic() + 20
        while len(children) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
            children = [int(pid) for pid in _children(serve.pid)]
        assert len(children) == 2
        os.kill(children[0], signal.SIGKILL)
        for _ in range(20):
            with httpx.Client(trust_env=False, timeout=60) as fresh:
                answer = fresh.post(f"{serve.url}/v1/chat/completions", json=HELLO)
                assert answer.status_code == 200
            time.sleep(0.1)
        assert len(_children(serve.pid)) == 2
        outcome: dict[str, str] = {}
        provider.script("up-cheap", SLOW)
        thread = stream_in_thread(serve.url, outcome)
        serve.signal(signal.SIGTERM)
        thread.join()
        assert outcome["text"].endswith("data: [DONE]\n\n")
        assert serve.wait() == 0


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
