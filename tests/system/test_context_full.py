"""A conversation that is too long: said on each API in the words by which its clients know it, and
not before the caller's own output cap has been lowered to what is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway

from server.wire.context_full import said_for_anthropics, said_for_openais

WINDOW = 4000
CONFIG = """
providers:
  plain: {{base_url: "{plain}"}}
  claude: {{kind: anthropic, base_url: "{claude}"}}
models:
  small: {{provider: plain, upstream_model: up, context_window: 4000, max_output_tokens: 3000,
           input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  tiny: {{provider: plain, upstream_model: up-tiny, context_window: 2000,
          input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  claude-x: {{provider: claude, context_window: 4000, max_output_tokens: 3000,
              input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  wide: {{provider: plain, upstream_model: up-wide, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{small: 3, claude-x: 2, tiny: 1, wide: 0}}}}
"""
ALL = ["small", "tiny", "claude-x"]
ASK: dict[str, Any] = {"chat/completions": "messages", "messages": "messages", "responses": "input"}
CAPS = {
    "chat/completions": "max_completion_tokens",
    "messages": "max_tokens",
    "responses": "max_output_tokens",
}


@pytest.fixture(scope="module")
def fakes() -> Iterator[dict[str, Any]]:
    with FakeProvider() as plain, FakeAnthropic() as claude:
        yield {"plain": plain, "claude": claude}


@pytest.fixture(scope="module")
def client(fakes: dict[str, Any]) -> Iterator[httpx.Client]:
    urls = {name: fake.base_url for name, fake in fakes.items()}
    with (
        LiveGateway(CONFIG.format(**urls)) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as http,
    ):
        yield http


def ask(client: httpx.Client, surface: str, words: int, **fields: Any) -> httpx.Response:
    text = "word " * words
    said = {ASK[surface]: [{"role": "user", "content": text}]}
    body = {"model": "p2l", **said, "p2l": {"models": ALL}}
    cap = {"max_tokens": 100} if surface == "messages" else {}
    return client.post(f"/v1/{surface}", json=body | cap | fields)


def check_said(answer: httpx.Response, surface: str) -> None:
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-should-retry"] == "false"
    if surface == "messages":
        assert answer.json()["type"] == "error"
        # either is known
        assert error["message"].startswith(("prompt is too long", "input length and `max_tokens`"))
    else:
        assert error["code"] == "context_length_exceeded"
        assert "maximum context length is" in error["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", ASK)
def test_our_own_decision_says_it(client: httpx.Client, surface: str, stream: bool) -> None:
    answer = ask(client, surface, 5000, stream=stream)
    check_said(answer, surface)
    message = answer.json()["error"]["message"]
    assert f"{WINDOW} maximum" in message or f"is {WINDOW} tokens" in message


def test_another_reason_is_told_as_such(client: httpx.Client) -> None:
    answer = ask(client, "chat/completions", 5, p2l={"models": ["tiny"], "exclude": ["tiny"]})
    assert answer.json()["error"]["code"] == "no_eligible_model"


@pytest.mark.parametrize("model", ["small", "claude-x"])
@pytest.mark.parametrize("surface", ASK)
def test_a_cap_is_lowered_to_what_is_left(
    client: httpx.Client, fakes: dict[str, Any], surface: str, model: str
) -> None:
    fake = fakes["claude" if model == "claude-x" else "plain"]
    for cap in (2500, 100_000):
        answer = ask(client, surface, 2500, **{CAPS[surface]: cap}, p2l={"models": [model]})
        assert answer.status_code == 200, answer.text
        sent = fake.requests[-1].body
        (lowered,) = {sent[n] for n in ("max_tokens", "max_completion_tokens") if n in sent}
        assert lowered == int(answer.headers["x-p2l-max-output-tokens"])
        assert 256 <= lowered <= WINDOW - 2500
    short = ask(client, surface, 20, **{CAPS[surface]: 2500}, p2l={"models": [model]})
    assert "x-p2l-max-output-tokens" not in short.headers


SAID = [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9120 "
    "tokens. Please reduce the length of the messages.",
    "This model's maximum context length is 8192 tokens. However, you requested 9120 tokens (8120 "
    "in the messages, 1000 in the completion). Please reduce the length of the messages.",
    "prompt is too long: 9120 tokens > 8192 maximum",
    "The input token count (9120) exceeds the maximum number of tokens allowed (8192).",
    "This model's maximum prompt length is 8192 but the request contains 9120 tokens.",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "the request exceeds the available context size. try increasing the context size",
    "input length and `max_tokens` exceed context limit: 9120 + 10 > 8192",
]


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("surface", ASK)
@pytest.mark.parametrize("model", ["wide", "claude-x"])
def test_a_providers_refusal_says_it(
    client: httpx.Client, fakes: dict[str, Any], surface: str, said: str, model: str
) -> None:
    error = {"message": said, "type": "invalid_request_error", "code": "context_length_exceeded"}
    refused = Behaviour(status=400, error=error)
    fakes["plain"].script("up-wide", refused)
    fakes["claude"].script("claude-x", refused)
    answer = ask(client, surface, 5, model=model, p2l={})
    check_said(answer, surface)


def test_the_tokens_are_told_where_the_provider_tells_them() -> None:
    for said in SAID[:5]:
        for tell, expected in (
            (said_for_anthropics, "prompt is too long: 9120 tokens > 8192 maximum"),
            (said_for_openais, "maximum context length is 8192 tokens"),
        ):
            assert expected in tell({"message": said})["message"]
