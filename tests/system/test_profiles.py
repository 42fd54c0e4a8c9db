"""Providers that speak OpenAI's dialect with deviations: what goes out, and what cannot."""

from __future__ import annotations

from typing import Any, get_args

import httpx
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway

from server.config.settings.providers import ProfileName
from server.upstream.base import UpstreamRequest
from server.upstream.exchange import Exchange
from server.upstream.openai import OpenAIUpstream
from server.upstream.openai_body import fit, outgoing
from server.upstream.profiles import PROFILES, profile_for
from server.upstream.transport import build_transport
from server.wire.surface import Surface

MESSAGES = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Hello there"},
]


def sent(name: str, stream: bool = False, **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": MESSAGES, **fields}
    return outgoing(PROFILES[name], UpstreamRequest(body, stream, "m"))


def test_every_profile_can_be_configured() -> None:
    assert set(get_args(ProfileName)) == set(PROFILES)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://me.openai.azure.com", "azure"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.together.xyz/v1", "together"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.deepseek.com/v1", "deepseek"),
        ("https://api.mistral.ai/v1", "mistral"),
        ("http://localhost:11434/v1", "ollama"),
        ("http://127.0.0.1:8000/v1", "generic"),
        ("https://evil-api.openai.com.example.org/v1", "generic"),
        ("https://notapi.openai.com/v1", "generic"),
    ],
)
def test_the_address_tells_the_profile(url: str, name: str) -> None:
    assert profile_for(None, url).name == name
    assert profile_for("vllm", url).name == "vllm"


@pytest.mark.parametrize(
    ("name", "cap"),
    [
        ("openai", "max_completion_tokens"),
        ("azure", "max_completion_tokens"),
        ("groq", "max_completion_tokens"),
        ("mistral", "max_tokens"),
        ("deepseek", "max_tokens"),
        ("ollama", "max_tokens"),
        ("openrouter", "max_tokens"),
        ("together", "max_tokens"),
    ],
)
@pytest.mark.parametrize("given", ["max_tokens", "max_completion_tokens"])
def test_the_cap_goes_out_under_the_name_that_the_provider_knows(
    name: str, cap: str, given: str
) -> None:
    body = sent(name, **{given: 50})
    assert body[cap] == 50
    assert {"max_tokens", "max_completion_tokens"} & set(body) == {cap}


def test_two_caps_become_the_smaller_one() -> None:
    assert sent("mistral", max_tokens=50, max_completion_tokens=40)["max_tokens"] == 40


@pytest.mark.parametrize("name", ["mistral", "deepseek", "groq", "ollama", "together"])
def test_developer_becomes_system_where_it_is_not_known(name: str) -> None:
    assert sent(name)["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent("openai")["messages"][0]["role"] == "developer"


def test_usage_is_asked_for_except_where_asking_is_an_error() -> None:
    assert sent("openai", stream=True)["stream_options"] == {"include_usage": True}
    options = {"include_usage": True}
    assert "stream_options" not in sent("mistral", stream=True, stream_options=options)


def test_thoughts_of_other_providers_are_not_sent_where_they_may_be_an_error() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    signed = call | {"extra_content": {"google": {"thought_signature": "x"}}}
    said = {"role": "assistant", "content": None, "tool_calls": [signed], "thinking_blocks": [{}]}
    own = {"role": "assistant", "content": None, "tool_calls": [call]}
    user, result = (
        {"role": "user", "content": "x"},
        {"role": "tool", "tool_call_id": "c", "content": "y"},
    )
    for name, expected in (("openai", own), ("groq", own), ("generic", said)):
        conversation = sent(name, messages=[user, said, result])["messages"]
        assert conversation == [user, expected, result]


def test_fields_are_renamed() -> None:
    body = sent("mistral", seed=0)
    assert body["random_seed"] == 0
    assert "seed" not in body


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("groq", {"logprobs": True}, "logprobs"),
        ("groq", {"n": 2}, "n"),
        ("groq", {"messages": [{"role": "user", "name": "bo", "content": "x"}]}, "names"),
        ("mistral", {"logit_bias": {"1": 2}}, "logit_bias"),
        ("deepseek", {"response_format": {"type": "json_schema"}}, "json_schema"),
        ("vllm", {"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ("ollama", {"tools": [{}], "tool_choice": "required"}, "tool_choice"),
    ],
)
def test_what_would_change_the_answer_and_is_not_honoured_rules_the_model_out(
    name: str, fields: dict[str, Any], told: str
) -> None:
    reason = fit(PROFILES[name], {"messages": MESSAGES, **fields}).reason
    assert reason is not None
    assert told in reason
    assert fit(PROFILES["openai"], {"messages": MESSAGES, **fields}).reason is None


def test_one_call_at_a_time_is_a_wish_of_agents() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    fields: dict[str, Any] = {"tools": [tool], "parallel_tool_calls": False}
    for name in ("deepseek", "ollama"):
        found = fit(PROFILES[name], {"messages": MESSAGES, **fields})
        assert found.reason is None
        assert "parallel_tool_calls" in found.left_out
        assert "parallel_tool_calls" not in sent(name, **fields)


def test_defaults_ask_for_nothing_and_are_not_sent() -> None:
    neutral = {"n": 1, "logprobs": False, "logit_bias": {}, "service_tier": "auto", "store": False}
    assert fit(PROFILES["mistral"], {"messages": MESSAGES, **neutral}).reason is None
    assert not {"logprobs", "logit_bias", "service_tier", "store"} & set(sent("mistral", **neutral))


def test_the_caller_learns_which_advisory_fields_were_left_out() -> None:
    with FakeProvider() as provider:
        config = f"""
providers:
  main: {{kind: openai, base_url: "{provider.base_url}", profile: mistral}}
models:
  a: {{provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
  b: {{provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
scorer: {{fixed: {{a: 1, b: 0}}}}
"""
        with (
            LiveGateway(config) as gateway,
            httpx.Client(base_url=gateway.url, trust_env=False) as client,
        ):
            body = {"model": "p2l", "messages": MESSAGES, "user": "u", "metadata": {"a": "b"}}
            response = client.post("/v1/chat/completions", json=body)
            refused = client.post("/v1/chat/completions", json=body | {"logprobs": True})
    assert response.headers["x-p2l-left-out-fields"] == "metadata,user"
    assert not {"user", "metadata"} & set(provider.chats[0].body)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "no_eligible_model"
    assert "logprobs" in refused.json()["error"]["message"]


def azure(base_url: str, version: str | None) -> OpenAIUpstream:
    return OpenAIUpstream(
        "az",
        base_url=base_url,
        api_key=None,
        exchange=Exchange("az", build_transport()),
        profile=PROFILES["azure"],
        api_version=version,
    )


@pytest.mark.anyio
async def test_azure_addresses() -> None:
    request = UpstreamRequest({"messages": MESSAGES}, False, "gpt 4/o")
    embeddings = UpstreamRequest({"input": "x"}, False, "e", Surface.EMBEDDINGS)
    classic = azure("https://me.openai.azure.com", "2024-10-21")
    newer = azure("https://me.openai.azure.com/openai/v1", None)
    host = "https://me.openai.azure.com/openai"
    try:
        assert str(classic._url(request)) == (
            f"{host}/deployments/gpt%204%2Fo/chat/completions?api-version=2024-10-21"
        )
        assert str(classic._url(embeddings)) == (
            f"{host}/deployments/e/embeddings?api-version=2024-10-21"
        )
        assert str(newer._url(request)) == f"{host}/v1/chat/completions"
    finally:
        await classic.close()
        await newer.close()
