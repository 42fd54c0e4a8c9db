"""Jobs through a live gateway become lines without texts."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

from server.cli import main
from server.offline.jobs.line import JobRequest, read_jobs

KEY = "sk-canaryprovider1f2e"
CALLER = "sk-canarycaller9c8d"
PROMPT, RESULT, ANSWER = "canaryprompt5a6b", "canaryresult7c8d", "canaryanswer3e4f"
NAME = "canary-session-name"
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
USAGE = {
    "prompt_tokens": 2_000,
    "completion_tokens": 50,
    "total_tokens": 2_050,
    "prompt_tokens_details": {"cached_tokens": 1_500},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
Message = dict[str, Any]


def call_of(number: int) -> dict[str, Any]:
    function = {"name": "look", "arguments": json.dumps({"at": PROMPT})}
    return {"id": f"call_{number}", "type": "function", "function": function}


def calling(number: int) -> Behaviour:
    message = {"role": "assistant", "content": ANSWER, "tool_calls": [call_of(number)]}
    return Behaviour(message=message, finish_reason="tool_calls", usage=USAGE)


def after(messages: list[Message], number: int) -> list[Message]:
    answer = {"role": "assistant", "content": ANSWER, "tool_calls": [call_of(number)]}
    result = {"role": "tool", "tool_call_id": f"call_{number}", "content": RESULT}
    return [*messages, answer, result]


def a_job(client: httpx.Client, provider: FakeProvider, first: int, **headers: str) -> None:
    """Three requests: a question, and the results of two calls."""
    messages: list[Message] = [{"role": "user", "content": f"{PROMPT} {first}"}]
    for number in range(first, first + 3):
        provider.script("*", calling(number))
        body = {"model": "p2l", "messages": messages, "tools": TOOLS, "reasoning_effort": "low"}
        answer = client.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        messages = after(messages, number)


@pytest.fixture
def config(provider: FakeProvider, storage_url: str, tmp_path: Path) -> Path:
    """A gateway through which three jobs have gone: one with a name, two without."""
    more = f'storage: {{url: "{storage_url}"}}\n'
    more += "auth: {keys: [{name: canary-team, key_env: CALLER}]}\n"
    path = tmp_path / "config.yaml"
    path.write_text(config_for(provider.base_url, more))
    environ = {"MAIN_KEY": "sk-provider-canary", "CALLER": CALLER}
    with (
        LiveGateway(path.read_text(), environ) as live,
        httpx.Client(base_url=live.url, trust_env=False, verify=False) as client,
    ):
        client.headers["authorization"] = f"Bearer {CALLER}"
        named = {"x-session-id": NAME, "x-session-budget": "5"}
        a_job(client, provider, 10, **named)
        a_job(client, provider, 20)
        a_job(client, provider, 30, **named)
        for model, name in (("dear", {}), ("dear", {"x-session-id": NAME})):
            body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
            provider.script("*", Behaviour(usage=USAGE))
            client.post("/v1/chat/completions", json=body, headers=name)
        provider.script("*", *[Behaviour(status=500, error={"message": PROMPT})] * 8)
        body = {"model": "p2l", "messages": [{"role": "user", "content": PROMPT}]}
        assert client.post("/v1/chat/completions", json=body).status_code >= 500
    return path


def exported(config: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Any, Path]:
    out = config.parent / "jobs.jsonl"
    assert main(["sessions", "export", "--config", str(config), "--out", str(out), "--json"]) == 0
    return json.loads(capsys.readouterr().out), out


def test_an_export_has_every_request_of_a_session(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, out = exported(config, capsys)
    assert report["requests"] == 10
    assert report["sessions"] == 2
    assert report["left_out_without_session"] == 1
    assert report["left_out_unanswered"] == 1
    lines = list(read_jobs(out))
    named, unnamed = lines[0].session, lines[3].session
    assert [one.session for one in lines] == [*[named] * 3, *[unnamed] * 3, *[named] * 4]
    assert [one.tool_loop for one in lines[:9]] == [False, True, True] * 3
    assert [one.new_words for one in lines[:9]] == [True, False, False] * 3
    assert [one.scored for one in lines[:9]] == [True, False, False] * 3
    # the second job under the same name is another conversation
    assert [one.branch for one in lines[:9]] == [0] * 6 + [1] * 3
    assert [one.routed for one in lines] == [True] * 9 + [False]
    assert {one.key for one in lines} == {lines[0].key}
    assert lines[0].began_s == lines[0].at_s == 0
    assert 0 < lines[1].at_s <= lines[2].at_s


@pytest.mark.slow
def test_a_line_has_tokens_money_and_the_leaderboard(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = exported(config, capsys)
    first, second = list(read_jobs(out))[:2]
    assert (first.effort, first.effort_sent) == ("low", "low")
    assert (first.input_tokens, first.cached_tokens) == (2_000, 1_500)
    assert (first.output_tokens, first.thinking_tokens) == (50, 20)
    assert first.cost_usd is not None
    assert first.cost_usd > 0
    assert first.session_budget_usd == Decimal(5)
    assert first.needs == ("tools",)
    assert first.leaderboard is not None
    assert len(first.leaderboard.coefficients) >= 2
    assert first.win_rate is not None
    assert second.leaderboard is None, "it is that of the line before"


@pytest.mark.slow
def test_no_text_and_no_name_leaks(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = exported(config, capsys)
    written = out.read_text()
    assert "canary" not in written
    for text in (KEY, CALLER, "sk-", "look", "call_"):
        assert text not in written
    assert JobRequest.model_validate_json(written.splitlines()[0])
