"""How long an answer is waited for, by what it is: in the gateway, without waiting for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from fake_provider import FakeProvider
from live_gateway import LiveGateway

from server.config.file import ConfigError, parse_settings
from server.model_facts import Thinking
from server.upstream import kinds
from server.upstream.http1 import Deadline
from server.upstream.patience import thinks
from server.upstream.transport import build_transport

CONFIG = """
providers:
  openai: {{kind: openai, base_url: "{openai}", profile: openai}}
  anthropic: {{kind: anthropic, base_url: "{anthropic}"}}
  set: {{kind: openai, base_url: "{openai}", first_byte_timeout_s: 7, idle_timeout_s: 5,
        total_timeout_s: 6}}
models:
  unheard-of: {{provider: openai, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  gpt-4o: {{provider: openai}}
  gpt-6.1-sol: {{provider: openai}}
  claude-opus-5-5: {{provider: anthropic}}
  claude-sonnet-4-5: {{provider: anthropic}}
  o3: {{provider: set}}
scorer: {{fixed: {{unheard-of: 1}}}}
"""


class Recording(httpx.AsyncBaseTransport):
    """The real one; `asked` are the seconds that each request was given until its first byte."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._inner = build_transport(*args, **options)

    asked: ClassVar[list[float]] = []
    deadlines: ClassVar[list[Deadline]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        deadline = request.extensions["deadline"]
        self.asked.append(deadline.at_s - time.monotonic())
        self.deadlines.append(deadline)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with pytest.MonkeyPatch.context() as patched, FakeProvider() as openai:
        patched.setattr(kinds, "build_transport", Recording)
        with (
            FakeAnthropic() as anthropic,
            LiveGateway(
                CONFIG.format(openai=openai.base_url, anthropic=anthropic.base_url)
            ) as gateway,
            httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client,
        ):
            yield client


def waits(client: httpx.Client, model: str, path: str = "chat/completions", **fields: Any) -> Any:
    """(seconds until the first byte, longest silence after it), rounded."""
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], **fields}
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == 200, answer.text
    idle = Recording.deadlines[-1].at_s - time.monotonic()
    return round(Recording.asked[-1], -1), round(idle, -1)


WHOLE = (600, 60)
LONG = (600, 300)
SHORT = (60, 60)


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        ("unheard-of", {}, WHOLE),
        ("unheard-of", {"stream": True}, SHORT),
        ("unheard-of", {"stream": True, "reasoning_effort": "low"}, LONG),
        ("unheard-of", {"stream": True, "reasoning_effort": "none"}, SHORT),
        ("gpt-4o", {"stream": True}, SHORT),
        # it does not think, whatever it is asked
        ("gpt-4o", {"stream": True, "reasoning_effort": "high"}, SHORT),
        ("gpt-6.1-sol", {"stream": True}, LONG),
        ("gpt-6.1-sol", {}, LONG),
        ("claude-opus-5-5", {"stream": True}, LONG),
        ("claude-sonnet-4-5", {"stream": True}, SHORT),
        ("claude-sonnet-4-5", {"stream": True, "reasoning_effort": "high", "max_tokens": 9000},
         LONG),
    ],
)  # fmt: skip
def test_an_answer_is_waited_for_as_it_deserves(
    client: httpx.Client, model: str, fields: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert waits(client, model, **fields) == expected


def test_the_other_surfaces_too(client: httpx.Client) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    # by way of /v1/responses, which the provider wants for tools, and which this one has not
    body = {"model": "gpt-6.1-sol", "messages": [{"role": "user", "content": "x"}]}
    client.post("/v1/chat/completions", json=body | {"stream": True, "tools": tools})
    assert round(Recording.asked[-1], -1) == 600
    messages = {"path": "messages", "max_tokens": 9000, "stream": True}
    thinking = {"type": "enabled", "budget_tokens": 2000}
    assert waits(client, "claude-sonnet-4-5", **messages) == SHORT
    assert waits(client, "claude-sonnet-4-5", **messages, thinking=thinking) == LONG


def test_what_is_configured_counts(client: httpx.Client) -> None:
    body = {"model": "o3", "messages": [{"role": "user", "content": "x"}]}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert Recording.asked[-1] <= 6, "the end of all comes first"
    assert 0 < Recording.deadlines[-1].at_s - time.monotonic() <= 5


def test_the_whole_is_bounded() -> None:
    settings = parse_settings("providers: {a: {kind: anthropic}}")
    assert settings.providers["a"].total_timeout_s == 3600
    with pytest.raises(ConfigError, match="first_byte_timeout_s"):
        parse_settings("providers: {a: {kind: anthropic, first_byte_timeout_s: 0}}")


@pytest.mark.parametrize(
    ("body", "use", "expected"),
    [
        ({}, "by_default", True),
        ({}, "optional", False),
        ({}, "unknown", False),
        ({"reasoning": {"effort": "high"}}, "optional", True),
        ({"reasoning": {"effort": "none"}}, "by_default", False),
        ({"reasoning": {"max_tokens": 4000}}, "unknown", True),
        ({"reasoning": {"enabled": False}}, "by_default", False),
        ({"reasoning": {"summary": "auto"}}, "by_default", True),
        ({"thinking": {"type": "adaptive"}}, "unknown", True),
        ({"thinking": {"type": "disabled"}}, "by_default", False),
        ({"thinking": {"type": "disabled"}}, "always", True),
        ({"enable_thinking": True}, "optional", True),
        ({"enable_thinking": False}, "by_default", False),
        ({"reasoning_effort": "high"}, "never", False),
        ({"reasoning": None, "thinking": None}, "by_default", True),
    ],
)
def test_whether_a_model_thinks(body: dict[str, Any], use: Any, expected: bool) -> None:
    assert thinks(body, Thinking(use=use)) is expected


def test_without_facts_the_request_tells() -> None:
    assert thinks({"reasoning_effort": "high"}, None)
    assert not thinks({}, None)
