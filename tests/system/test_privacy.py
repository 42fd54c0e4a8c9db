"""Canaries in prompts, completions and keys: nothing that the process writes may hold one.

The real process, at its most talkative (debug), through success, failure and nonsense; then
everything it wrote is searched: both outputs, the database with its journal, metrics, receipts,
whatever else lies in its folder.
"""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from broken_stream import read_stream
from fake_provider import Behaviour, FakeProvider, Fault
from hanging_up import hang_up
from live_gateway import config_for
from serve_process import ServeProcess

PROMPT = "canaryprompt7f3a"
COMPLETION = "canarycompletion9b1c"
PROVIDER_KEY = "sk-canaryproviderkey5d2e"
CALLER_KEY = "sk-canarycallerkey8a4f"
WRONG_KEY = "sk-canarywrongkey6c0d"
CANARIES = (PROMPT, COMPLETION, PROVIDER_KEY, CALLER_KEY, WRONG_KEY)
AUTH = """
auth: {keys: [{name: team, key_env: CALLER, admin: true}]}
routing: {breaker: {consecutive_failures: 1000, min_requests: 1000}}
"""
TEXTS = (COMPLETION, " ", COMPLETION)
QUOTING = {"message": f"your prompt {PROMPT} with {PROVIDER_KEY} is bad", "code": "x"}


def hello(**more: Any) -> dict[str, Any]:
    return {"model": "p2l", "messages": [{"role": "user", "content": PROMPT}], **more}


BEHAVIOURS = [
    Behaviour(texts=TEXTS),
    *(Behaviour(texts=TEXTS, fault=fault, fault_after=2) for fault in Fault),
    *(Behaviour(status=status, error=QUOTING) for status in (400, 401, 404, 422, 429, 500)),
    Behaviour(garbage=f"<html>{PROMPT} {PROVIDER_KEY}</html>".encode()),
    Behaviour(error=QUOTING),
    Behaviour(status=302, headers={"location": f"http://127.0.0.1:1/{PROMPT}"}),
    Behaviour(texts=TEXTS, headers={"x-echo": PROMPT, "set-cookie": f"a={PROVIDER_KEY}"}),
]
NONSENSE: list[bytes] = [
    f'{{"model": "p2l", "messages": [{{"role": "user", "content": "{PROMPT}"}}'.encode(),
    f'{{"{PROMPT}": 1, "{PROMPT}": 2}}'.encode(),
    f'{{"model": "{PROMPT}", "messages": [{{"role": "user", "content": "x"}}]}}'.encode(),
    f'{{"model": "p2l", "messages": [{{"role": "{PROMPT}", "content": "x"}}]}}'.encode(),
    f'{{"model": "p2l", "messages": "{PROMPT}"}}'.encode(),
    PROMPT.encode("utf-16"),
    b"\xff" + PROMPT.encode(),
]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[tuple[ServeProcess, FakeProvider]]:
    with FakeProvider(api_key=PROVIDER_KEY) as provider:
        environ = {"MAIN_KEY": PROVIDER_KEY, "CALLER": CALLER_KEY, "PYTHONFAULTHANDLER": "1"}
        config = config_for(provider.base_url, AUTH, patience_s=1)
        with ServeProcess(tmp_path, config, "--log-level", "debug", environ=environ) as serve:
            yield serve, provider


def exercise(http: httpx.Client, provider: FakeProvider) -> list[str]:
    """Everything at once; returns the request ids."""
    ids = []
    provider.script("*", Behaviour(first_delay_s=5))
    caller = {"authorization": f"Bearer {CALLER_KEY}"}
    hang_up(str(http.base_url), "/v1/chat/completions", hello(), lambda: provider.chats, **caller)
    for behaviour in BEHAVIOURS:
        for stream in (False, True):
            provider.script("*", behaviour)
            for model in ("p2l", "cheap"):
                body = hello(model=model, stream=stream)
                answer = read_stream(http, "/v1/chat/completions", body)
                ids.append(answer.headers["x-request-id"])
    for body in NONSENSE:
        for path in ("/v1/chat/completions", "/v1/route", "/v1/leaderboard"):
            answer = http.post(path, content=body, headers={"x-route-models": PROMPT})
            assert 400 <= answer.status_code < 500
    http.post("/v1/route", json=hello())
    http.post("/v1/leaderboard", json={"prompt": PROMPT})
    http.get(f"/{PROMPT}?key={CALLER_KEY}")
    http.get("/v1/models", headers={"authorization": f"Bearer {WRONG_KEY}"})
    http.get(f"/v1/models/{PROMPT}")
    http.post("/v1/feedback", json={"request_id": ids[0], "rating": 1.0})
    return ids


def written(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "config.yaml")
    return {path.name: path.read_bytes() for path in files}


def spellings(canary: str) -> list[bytes]:
    encoded = base64.b64encode(canary.encode()).rstrip(b"=")[:-1]
    return [canary.encode(), canary.encode("utf-16-le"), canary.encode().hex().encode(), encoded]


@pytest.mark.slow
def test_no_prompt_no_completion_and_no_key_is_written_anywhere(
    serving: tuple[ServeProcess, FakeProvider],
) -> None:
    serve, provider = serving
    seen: dict[str, bytes] = {}
    headers = {"authorization": f"Bearer {CALLER_KEY}"}
    with httpx.Client(base_url=serve.url, trust_env=False, timeout=30, headers=headers) as http:
        ids = exercise(http, provider)
        for path in ("/metrics", "/readyz", "/v1/models", "/"):
            seen[path] = http.get(path).content
        for request_id in ids:
            seen[request_id] = http.get(f"/v1/decisions/{request_id}").content
    seen |= written(serve.folder)  # the database while it is open, with its journal
    serve.signal(signal.SIGTERM)
    serve.wait()
    seen |= {f"{name} at the end": content for name, content in written(serve.folder).items()}
    assert len(seen["stderr at the end"]) > 1000, "it should have had much to say at debug"
    assert any(name.endswith(".db") for name in seen)
    found = {
        (canary, name)
        for canary in CANARIES
        for name, content in seen.items()
        if any(spelling in content for spelling in spellings(canary))
    }
    assert not found


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" + PROMPT.encode() + b"y")
    (content,) = written(tmp_path).values()
    assert any(spelling in content for spelling in spellings(PROMPT))


async def test_a_bug_is_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    from server.http.guard import Guard

    async def broken(*_: object) -> None:
        try:
            raise KeyError(PROMPT)
        except KeyError as error:
            raise RuntimeError(f"cannot handle {PROMPT}") from error

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Guard(broken)({"type": "http"}, None, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 500
    assert "internal_error" in sent[1]["body"].decode()
    assert "RuntimeError" in caplog.text
    assert "test_privacy.py" in caplog.text
    assert PROMPT not in caplog.text
