"""The official OpenAI client against `p2l-router serve` as a user starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

PROVIDER_KEYS = ("OPENAI", "ANTHROPIC", "GEMINI", "MISTRAL", "OPENROUTER")
MESSAGES = [{"role": "user", "content": "Write a function that reverses a linked list."}]


def command() -> str:
    return str(Path(sys.executable).parent / "p2l-router")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The zero-configuration server: bundled checkpoint, sandbox, no key at all."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(PROVIDER_KEYS)}
    port = free_port()
    folder = tmp_path_factory.mktemp("serve")
    log = (folder / "stderr").open("w+")
    process = subprocess.Popen(
        [command(), "serve", "--port", str(port)], env=environ, stderr=log, text=True, cwd=folder
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_ready(address, process)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=20)
        log.seek(0)
        said = log.read()
        log.close()
    assert status in (0, -signal.SIGTERM)
    assert "SANDBOX" in said
    assert "reverses a linked list" not in said, "prompts stay out of logs"


def wait_ready(address: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{address}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not become ready")


@pytest.mark.slow
def test_sync(url: str) -> None:
    with OpenAI(base_url=f"{url}/v1", api_key="unused") as client:
        raw = client.chat.completions.with_raw_response.create(
            model="p2l", messages=MESSAGES, extra_headers={"X-Cost-Budget": "0.002"}
        )
        answer = raw.parse()
    assert answer.choices[0].message.content.startswith("[sandbox]")
    assert answer.model == raw.headers["x-p2l-model"]
    assert float(raw.headers["x-p2l-expected-cost-usd"]) > 0
    assert answer.usage.cost == pytest.approx(float(raw.headers["x-p2l-cost-usd"]), abs=1e-12)


def test_streaming(url: str) -> None:
    with OpenAI(base_url=f"{url}/v1", api_key="unused") as client:
        stream = client.chat.completions.create(
            model="p2l",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
            max_completion_tokens=20,
            extra_body={"p2l": {"budget_usd": 0.002}},
        )
        chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text.startswith("[sandbox]")
    assert chunks[-1].usage.completion_tokens == 20
    assert chunks[-1].usage.cost > 0


@pytest.mark.anyio
async def test_async(url: str) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="unused") as client:
        stream = await client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        models = [model.id async for model in client.models.list()]
    assert "".join(texts).startswith("[sandbox]")
    assert models[0] == "p2l"
    assert len(models) > 5


def test_errors_are_the_sdks_own(url: str) -> None:
    with OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(
                model="p2l", messages=MESSAGES, extra_headers={"X-Cost-Budget": "0"}
            )
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="nobody", messages=MESSAGES)
    assert refused.value.code == "budget_infeasible"


@pytest.mark.slow
def test_a_larger_budget_never_wins_less(url: str) -> None:
    rates = []
    for budget in ("0.0003", "0.001", "0.005", "0.05"):
        response = httpx.post(
            f"{url}/v1/route",
            json={"messages": MESSAGES},
            headers={"X-Cost-Budget": budget},
            trust_env=False,
        )
        decision = response.json()
        assert decision["mix_expected_cost_usd"] <= float(budget)
        rates.append(decision["mix_win_rate"])
    assert rates == sorted(rates)
    assert rates[-1] > rates[0]


@pytest.mark.slow
def test_leaderboards_differ_by_prompt(url: str) -> None:
    boards = [
        httpx.post(f"{url}/v1/leaderboard", json={"prompt": prompt}, trust_env=False).json()
        for prompt in ("Compute 17 * 23 step by step.", "Write a sonnet about autumn rain.")
    ]
    tops = [[row["model"] for row in board["data"][:10]] for board in boards]
    assert tops[0] != tops[1]
    for board in boards:
        assert board["object"] == "leaderboard"
        assert [row["rank"] for row in board["data"]] == list(range(1, len(board["data"]) + 1))
        assert board["eta"] is not None
