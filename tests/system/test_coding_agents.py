"""A coding agent on the Messages API, as it talks today, with each model that may answer it.

The bodies are of the kind that Claude Code sends; the providers refuse what the real ones refuse.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, Recorded
from live_gateway import LiveGateway
from strict_models import WORDS, ClaudeToday, GeminiToday, OpenAIToday, OthersToday

OPENAI = ("gpt-6.1-sol", "gpt-6-luna", "gpt-5.6-terra")
CLAUDE = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
OLDER = ("claude-opus-4-8", "claude-sonnet-4-6", "claude-sonnet-4-5", "claude-haiku-4-5")
GEMINI = ("gemini-3.8-flash", "gemini-3.1-pro-preview")
# by the profile of their provider
OTHERS = {
    "generic": ("grok-4.7", "kimi-k3.1-pro", "glm-5.3", "qwen3.8-max", "a-model-of-nobody"),
    "deepseek": ("deepseek-v4-pro",),
    "mistral": ("mistral-large-4",),
    "vllm": ("qwen3-coder",),
}
MODELS = (*OPENAI, *CLAUDE, *OLDER, *GEMINI, *(model for some in OTHERS.values() for model in some))
KEY = "the-key"
BETAS = [
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "per-turn-control-2026-07-01,mid-conversation-tool-changes-2026-07-01",
    "advanced-tool-use-2025-11-20,effort-2025-11-24,cache-diagnosis-2026-04-07",
    ",".join(f"a-beta-of-tomorrow-{number}" for number in range(60)),
]
REMINDER = "The working directory is /work."
MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
TOOL = {
    "name": "Read",
    "description": "Reads a file.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    "eager_input_streaming": True,
}
DEFERRED = {**TOOL, "name": "WebFetch", "defer_loading": True}


def asked(**fields: Any) -> dict[str, Any]:
    text = {"type": "text", "text": "Fix the bug in calc.py."}
    return {
        "model": "p2l",
        "max_tokens": 128_000,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=0a1b2;"},
            {"type": "text", "text": "You are a coding agent.", **MARK},
        ],
        "messages": [
            {"role": "user", "content": [text]},
            {
                "role": "system",
                "content": [{"type": "text", "text": REMINDER, **MARK}],
                "output_config": {"effort": "medium"},
            },
        ],
        "tools": [TOOL, DEFERRED],
        "metadata": {"user_id": json.dumps({"device_id": "d" * 64, "session_id": "s" * 250})},
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "diagnostics": {"previous_message_id": None},
        "output_config": {"effort": "medium"},
        **fields,
    }


def continued(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The next request, with the result of the call and another turn of the system."""
    found = [
        {"type": "text", "text": "found:"},
        {"type": "tool_reference", "tool_name": "WebFetch"},
    ]
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": found}
        for block in answer["content"]
        if block["type"] == "tool_use"
    ]
    later = {"role": "system", "content": "Two files were changed."}
    turns = [{"role": "assistant", "content": answer["content"]},
             {"role": "user", "content": results}, later]  # fmt: skip
    return {**body, "messages": [*body["messages"], *turns]}


class Rig:
    """The gateway, and the providers behind it."""

    def __init__(self) -> None:
        self.openai, self.claude = OpenAIToday(api_key=KEY), ClaudeToday(api_key=KEY)
        self.older, self.gemini = ClaudeBefore(api_key=KEY), GeminiToday(api_key=KEY)
        self.others = OthersToday(api_key=KEY)
        self.url = ""

    @property
    def providers(self) -> tuple[Any, ...]:
        return self.openai, self.claude, self.older, self.gemini, self.others

    @property
    def config(self) -> str:
        homes = {"openai": OPENAI, "claude": CLAUDE, "older": OLDER, "gemini": GEMINI, **OTHERS}
        chat = f'kind: openai, base_url: "{self.others.base_url}", api_key_env: KEY'
        others = "\n".join(f"  {name}: {{{chat}, profile: {name}}}" for name in OTHERS)
        price = "input_usd_per_mtok: 1, output_usd_per_mtok: 2, context_window: 1000000"
        models = [f"  {m}: {{provider: {h}, {price}}}" for h, some in homes.items() for m in some]
        scores = ", ".join(f"{model}: {-number}" for number, model in enumerate(MODELS))
        return f"""
providers:
  openai: {{kind: openai, base_url: "{self.openai.base_url}", profile: openai, responses: true,
           api_key_env: KEY}}
  claude: {{kind: anthropic, base_url: "{self.claude.base_url}", api_key_env: KEY}}
  older: {{kind: anthropic, base_url: "{self.older.base_url}", api_key_env: KEY}}
  gemini: {{kind: gemini, base_url: "{self.gemini.base_url}", api_key_env: KEY}}
{others}
models:
{chr(10).join(models)}
scorer: {{fixed: {{{scores}}}}}
routing: {{retries: 0, fallbacks: 0}}
"""

    def ask(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
        """As Claude Code does: with several headers of betas."""
        raw = [("anthropic-version", "2023-06-01"), *(("anthropic-beta", one) for one in BETAS)]
        raw += list((headers or {}).items())
        return httpx.post(f"{self.url}/v1/messages?beta=true", json=body, headers=raw,
                          timeout=20, trust_env=False)  # fmt: skip

    @property
    def last(self) -> Recorded:
        sent = [request for provider in self.providers for request in provider.requests]
        return sent[-1]


class ClaudeBefore(ClaudeToday):
    """Claude 4, by the rules that are the same for all."""

    def _behaviour(self, request: Recorded) -> Any:
        model = request.body["model"]
        thinking = (request.body.get("thinking") or {}).get("type")
        adaptive = model in ("claude-opus-4-8", "claude-sonnet-4-6")
        if thinking == "adaptive" and not adaptive:
            return _refused("adaptive thinking is not supported on this model")
        if thinking == "enabled" and model == "claude-opus-4-8":
            return _refused('"thinking.type.enabled" is not supported for this model.')
        if (request.body.get("output_config") or {}).get("effort") and not adaptive:
            return _refused("This model does not support the effort parameter.")
        if thinking == "enabled":
            # what is checked for the newest models is another rule of theirs
            as_new = {**request.body, "thinking": {"type": "adaptive"}}
            request = replace(request, body=as_new)
        return super()._behaviour(request)


def _refused(message: str) -> Any:
    error = {"type": "invalid_request_error", "message": message}
    return Behaviour(status=400, error=error)


@pytest.fixture(scope="module")
def started() -> Iterator[Rig]:
    rig = Rig()
    with ExitStack() as opened:
        for provider in rig.providers:
            opened.enter_context(provider)
        rig.url = opened.enter_context(LiveGateway(rig.config, {"KEY": KEY})).url
        yield rig


@pytest.fixture
def rig(started: Rig) -> Rig:
    for provider in started.providers:
        provider.requests.clear()
    return started


def left_out(answer: httpx.Response) -> set[str]:
    return set(answer.headers.get("x-p2l-left-out-fields", "").split(","))


@pytest.mark.parametrize("budget", [None, "5"])
@pytest.mark.parametrize("model", MODELS)
def test_an_agents_job_is_done_by_each_model(rig: Rig, model: str, budget: str | None) -> None:
    headers = {"X-Route-Models": model, **({} if budget is None else {"X-Cost-Budget": budget})}
    body = asked()
    first = rig.ask(body, headers)
    assert first.status_code == 200, first.text
    assert REMINDER in json.dumps(rig.last.body)
    assert first.json()["stop_reason"] == "tool_use"
    second = rig.ask(continued(body, first.json()), headers)
    assert second.status_code == 200, second.text
    said = "".join(block.get("text", "") for block in second.json()["content"])
    assert said == WORDS
    sent = json.dumps(rig.last.body)
    assert "Two files were changed." in sent
    native = model.startswith("claude")
    assert ("cch=0a1b2" in sent) == native
    assert ("tool_reference" in sent) == native
    assert native or {"context_management", "diagnostics"} <= left_out(second)
    if native:
        betas = rig.last.headers["anthropic-beta"]
        assert betas == ",".join(BETAS)


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-opus-4-8"])
def test_newer_claudes_read_turns_of_the_system_as_such(rig: Rig, model: str) -> None:
    assert rig.ask(asked(model=model)).status_code == 200
    turn = rig.last.body["messages"][1]
    assert turn["role"] == "system"
    assert ("output_config" in turn) == (model == "claude-opus-5-5")


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "gemini-3.8-flash"])
def test_others_read_them_as_reminders(rig: Rig, model: str) -> None:
    assert rig.ask(asked(model=model)).status_code == 200
    sent = json.dumps(rig.last.body)
    assert f"<system-reminder>\\n{REMINDER}\\n</system-reminder>" in sent


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_of_it(rig: Rig, model: str) -> None:
    answer = rig.ask(asked(model=model, stream=True))
    assert answer.status_code == 200
    assert '"stop_reason":"tool_use"' in answer.text.replace(" ", "")
    assert "event: message_stop" in answer.text


@pytest.mark.parametrize("model", [m for m in MODELS if m not in ("deepseek-v4-pro", "glm-5.3")])
def test_what_a_tool_shows_is_seen(rig: Rig, model: str) -> None:
    body = asked(model=model, thinking={"type": "disabled"})
    del body["context_management"]
    call = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"city": "a.png"}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [image]}
    body["messages"] += [{"role": "assistant", "content": [call]},
                         {"role": "user", "content": [result]}]  # fmt: skip
    answer = rig.ask(body)
    assert answer.status_code == 200, answer.text
    assert PNG in json.dumps(rig.last.body)


@pytest.mark.parametrize("model", ["p2l", "claude-p2l", "claude-opus-5-5", "gpt-6-luna"])
def test_all_of_it_is_counted(rig: Rig, model: str) -> None:
    def count(**fields: Any) -> int:
        body = asked(model=model, **fields)
        del body["max_tokens"]
        answer = httpx.post(f"{rig.url}/v1/messages/count_tokens?beta=true", json=body,
                            headers={"anthropic-beta": BETAS[0]}, trust_env=False)  # fmt: skip
        assert answer.status_code == 200, answer.text
        return int(answer.json()["input_tokens"])

    whole = count()
    assert whole > count(messages=asked()["messages"][:1]), "turns of the system count"
    assert whole > count(tools=[TOOL]), "so do tools that are not loaded yet"
    assert whole - 2 <= count(diagnostics=None, context_management=None) <= whole
