"""Answers that are translated and do not end: what the provider has said of its usage counts, as it
does where they are not translated."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from fake_gemini import FakeGemini
from fake_provider import Behaviour, Fault
from live_gateway import LiveGateway

CONFIG = """
providers:
  claude: {{kind: anthropic, base_url: "{claude}"}}
  gemini: {{kind: gemini, base_url: "{gemini}"}}
models:
  claude-x: {{provider: claude, input_usd_per_mtok: 5, output_usd_per_mtok: 15}}
  gemini-x: {{provider: gemini, input_usd_per_mtok: 5, output_usd_per_mtok: 15}}
scorer: {{fixed: {{claude-x: 0, gemini-x: 0}}}}
storage: {{url: "sqlite:///{database}"}}
routing: {{retries: 0}}
"""
READ = 5000
CANDIDATE = {"content": {"role": "model", "parts": [{"text": "some words"}]}, "index": 0}
EVENTS: dict[str, tuple[dict[str, Any], ...]] = {
    "claude-x": (
        {"type": "message_start", "message": {
            "id": "m", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
            "usage": {"input_tokens": READ - 400, "cache_read_input_tokens": 400,
                      "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": "some words"}},
        {"type": "content_block_stop", "index": 0},
    ),
    "gemini-x": (
        {"candidates": [CANDIDATE], "responseId": "r", "modelVersion": "gemini-x",
         "usageMetadata": {"promptTokenCount": READ, "cachedContentTokenCount": 400,
                           "candidatesTokenCount": 1}},
        {"candidates": [CANDIDATE], "responseId": "r", "modelVersion": "gemini-x"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def fakes() -> Iterator[dict[str, Any]]:
    with FakeAnthropic() as claude, FakeGemini() as gemini:
        yield {"claude-x": claude, "gemini-x": gemini}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cut") / "ledger.db"


@pytest.fixture(scope="module")
def url(fakes: dict[str, Any], database: Path) -> Iterator[str]:
    urls = {"claude": fakes["claude-x"].base_url, "gemini": fakes["gemini-x"].base_url}
    with LiveGateway(CONFIG.format(database=database, **urls)) as gateway:
        yield gateway.url


def settled(database: Path, request_id: str) -> dict[str, Any]:
    query = "select * from attempts where request_id = ? and settled_at is not null"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with closing(sqlite3.connect(database)) as connection:
            connection.row_factory = sqlite3.Row
            found = [dict(row) for row in connection.execute(query, (request_id,))]
        if found:
            return found[0]
        time.sleep(0.01)
    raise AssertionError("it was never settled")


@pytest.mark.parametrize("hangs_up", [False, True])
@pytest.mark.parametrize("path", ["chat/completions", "responses"])
@pytest.mark.parametrize("model", list(EVENTS))
def test_the_input_that_was_told_is_billed(
    url: str, fakes: dict[str, Any], database: Path, model: str, path: str, hangs_up: bool
) -> None:
    events = EVENTS[model]
    fault = Fault.SILENCE if hangs_up else Fault.CUT
    fakes[model].script(model, Behaviour(events=events, fault=fault, fault_after=len(events)))
    said = {"input": "Hello"} if path == "responses" else {
        "messages": [{"role": "user", "content": "Hello"}]
    }  # fmt: skip
    with httpx.stream(
        "POST", f"{url}/v1/{path}", json={"model": model, "stream": True, **said}, trust_env=False
    ) as answer:
        try:
            for line in answer.iter_lines():
                if hangs_up and "words" in line:
                    break
        except httpx.RemoteProtocolError:
            assert not hangs_up
    row = settled(database, answer.headers["x-request-id"])
    assert row["outcome"] == ("cancelled" if hangs_up else "broken")
    assert (row["prompt_tokens"], row["cached_tokens"]) == (READ, 400)
    assert row["cost_source"] == "estimate", "its output was not told"
    assert row["completion_tokens"] >= 2
