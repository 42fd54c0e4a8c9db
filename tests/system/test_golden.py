"""Recorded pairs, written from the providers' public references: what goes out for a request, and
what comes back for an answer, whole and streamed alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from fake_gemini import FakeGemini
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway
from merge import merged, sse_events
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from sdk_types import (
    check_anthropic_answer,
    check_anthropic_body,
    check_gemini_answer,
    check_gemini_body,
)

GOLDEN = Path(__file__).parents[1] / "golden"
FAKES = {"anthropic": FakeAnthropic, "gemini": FakeGemini}
CASES = [(path.parent.name, path.stem) for kind in FAKES for path in (GOLDEN / kind).glob("*.json")]
KEY = "secret-of-the-provider"
MARK = re.compile(r"p2ls\.[0-9a-f]{12}\.")


def golden(kind: str, name: str) -> dict[str, Any]:
    case: dict[str, Any] = json.loads((GOLDEN / kind / f"{name}.json").read_text("utf-8"))
    return case


def config(kind: str, url: str) -> str:
    cases = [golden(*case) for case in CASES if case[0] == kind]
    models = sorted({case["upstream_model"] for case in cases})
    price = "input_usd_per_mtok: 3, output_usd_per_mtok: 15"
    rows = "\n".join(f"  {model}: {{provider: it, {price}}}" for model in models)
    return f"""
providers: {{it: {{kind: {kind}, base_url: "{url}", api_key_env: IT_KEY}}}}
models:
{rows}
scorer: {{fixed: {{{models[0]}: 1}}}}
"""


@pytest.fixture(scope="module")
def live() -> Iterator[dict[str, tuple[FakeProvider, httpx.Client]]]:
    """A gateway in front of each fake."""
    with (
        FakeAnthropic(api_key=KEY) as one,
        FakeGemini(api_key=KEY) as other,
        LiveGateway(config("anthropic", one.base_url), {"IT_KEY": KEY}) as first,
        LiveGateway(config("gemini", other.base_url), {"IT_KEY": KEY}) as second,
        httpx.Client(base_url=first.url, trust_env=False, timeout=20) as a,
        httpx.Client(base_url=second.url, trust_env=False, timeout=20) as b,
    ):
        yield {"anthropic": (one, a), "gemini": (other, b)}


def sizes(usage: dict[str, Any]) -> dict[str, int]:
    return {
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"],
        "cache_write_tokens": usage["prompt_tokens_details"]["cache_write_tokens"],
        "audio_input_tokens": usage["prompt_tokens_details"]["audio_tokens"],
        "reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"],
    }


def unmarked(message: dict[str, Any]) -> Any:
    """Without the marks of the account that signed the thoughts."""
    return json.loads(MARK.sub("", json.dumps(message)))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_golden(
    live: dict[str, tuple[FakeProvider, httpx.Client]], kind: str, name: str, stream: bool
) -> None:
    provider, client = live[kind]
    case = golden(kind, name)
    model, expected = case["upstream_model"], case["completion"]
    provider.script(model, Behaviour(answer=case["answer"], events=tuple(case["events"])))
    body = {**case["request"], "model": model, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    response = client.post("/v1/chat/completions", json=body)
    sent = {k: v for k, v in provider.chats[-1].body.items() if k != "stream"}
    assert sent == case["sent"]
    if "refused" in case:
        assert response.status_code == case["refused"]["status"]
        assert response.json()["error"]["code"] == case["refused"]["code"]
        return
    assert response.status_code == 200, response.text
    if stream:
        *chunks, done = sse_events(response.text)
        assert done == "[DONE]"
        for chunk in chunks:
            ChatCompletionChunk.model_validate(chunk)
        answer = merged(chunks)
        assert {chunk["model"] for chunk in chunks} == {model}
    else:
        whole = response.json()
        ChatCompletion.model_validate(whole)
        answer = {**whole["choices"][0], "usage": whole["usage"], "id": whole["id"]}
    message = {k: v for k, v in answer["message"].items() if k != "refusal"}
    if stream and message["content"] is None and "tool_calls" not in message:
        message["content"] = ""
    assert unmarked(message) == expected["message"]
    assert answer["finish_reason"] == expected["finish_reason"]
    assert answer["id"] == expected["id"]
    found = sizes(answer["usage"])
    assert found == {"audio_input_tokens": 0} | expected["usage"]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_pairs_are_what_the_official_sdks_speak(kind: str, name: str) -> None:
    case = golden(kind, name)
    if kind == "anthropic":
        check_anthropic_body(case["sent"])
        check_anthropic_answer(case["answer"], case["events"])
    else:
        check_gemini_body(case["sent"])
        check_gemini_answer(case["answer"], case["events"])
