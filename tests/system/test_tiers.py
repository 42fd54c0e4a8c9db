"""Service tiers at other prices: costed at theirs, or not at all, never at the normal one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway

from server.config.file import ConfigError, parse_settings
from server.wire.service_tier import tier_of

KEY = "sk-provider-canary"
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 110,
    "prompt_tokens_details": {"cached_tokens": 40},
}
NORMAL = (Decimal(60) * 5 + Decimal(40) * 1 + Decimal(10) * 15) / 10**6
MODELS = """
models:
  priced: {provider: main, upstream_model: up, input_usd_per_mtok: 5, output_usd_per_mtok: 15,
           cached_input_usd_per_mtok: 1, tier_prices: {priority: 1.75, flex: 0.5}}
  normal: {provider: main, upstream_model: up, input_usd_per_mtok: 5, output_usd_per_mtok: 15,
           cached_input_usd_per_mtok: 1}
scorer: {fixed: {priced: 0, normal: 3}}
routing: {retries: 0}
"""


@pytest.fixture
def http(provider: FakeProvider, tmp_path: Path) -> Iterator[httpx.Client]:
    config = f"""
providers: {{main: {{kind: openai, base_url: "{provider.base_url}", api_key_env: MAIN_KEY}}}}
storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}
{MODELS}"""
    with (
        LiveGateway(config, {"MAIN_KEY": KEY}) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as client,
    ):
        yield client


def ask(http: httpx.Client, budget: str | None = None, **body: Any) -> httpx.Response:
    headers = {} if budget is None else {"x-cost-budget": budget}
    chat = {"model": "p2l", "messages": [{"role": "user", "content": "Hi"}], **body}
    return http.post("/v1/chat/completions", json=chat, headers=headers)


@pytest.mark.parametrize(
    ("asked", "served", "factor"),
    [
        (None, None, "1"),
        ("auto", "default", "1"),
        ("priority", None, "1.75"),
        ("priority", "priority", "1.75"),
        ("priority", "default", "1"),
        (None, "priority", "1.75"),
        ("flex", "flex", "0.5"),
        ("flex", "default", "1"),
        (None, "never heard of", "1"),
        ("priority", "never heard of", "1.75"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_cost_is_that_of_the_tier_that_served(
    http: httpx.Client,
    provider: FakeProvider,
    tmp_path: Path,
    asked: str | None,
    served: str | None,
    factor: str,
    stream: bool,
) -> None:
    provider.script("up", Behaviour(usage=USAGE, service_tier=served))
    body: dict[str, Any] = {"model": "priced", "stream": stream}
    if asked is not None:
        body["service_tier"] = asked
    if stream:
        body["stream_options"] = {"include_usage": True}
    answer = ask(http, **body)
    assert answer.status_code == 200
    cost = NORMAL * Decimal(factor)
    if stream:
        assert f'"cost":{float(cost)}' in answer.text
    else:
        assert answer.json()["usage"]["cost"] == float(cost)
        assert Decimal(answer.headers["x-p2l-cost-usd"]) == cost
    assert provider.requests[-1].body.get("service_tier") == asked
    http.get("/v1/decisions/unknown")  # answered once all records so far are in the database
    with closing(sqlite3.connect(tmp_path / "p2l.db")) as database:
        rows = database.execute("select cost_pico from attempts where outcome = 'answered'")
        assert [row[0] for row in rows] == [int(cost * 10**12)]


def test_a_budget_takes_the_model_whose_price_is_known(
    http: httpx.Client, provider: FakeProvider
) -> None:
    assert ask(http, "0.1").headers["x-p2l-model"] == "normal"
    answer = ask(http, "0.1", service_tier="priority")
    assert answer.headers["x-p2l-model"] == "priced"
    expected = Decimal(ask(http, "0.1", model="priced").headers["x-p2l-expected-cost-usd"])
    said = Decimal(answer.headers["x-p2l-expected-cost-usd"])
    assert said == expected * Decimal("1.75")
    assert ask(http, "0.1", service_tier="flex").headers["x-p2l-model"] == "normal"


@pytest.mark.parametrize("tier", ["priority", "scale", "canaryprompt", 7, ["x"]])
def test_a_tier_of_unknown_price_is_refused_under_a_budget(
    http: httpx.Client, provider: FakeProvider, tier: Any
) -> None:
    for mode in ("expected", "hard"):
        body = {"service_tier": tier, "model": "normal", "p2l": {"budget_mode": mode}}
        refused = ask(http, "0.1", **body)
        assert refused.status_code == 400
        assert "canaryprompt" not in refused.text
    if isinstance(tier, str):
        assert refused.json()["error"]["code"] == "no_eligible_model"
        assert "tier_prices" in refused.json()["error"]["message"]
    assert not provider.requests


def test_without_a_budget_a_tier_of_unknown_price_has_no_cost(
    http: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up", Behaviour(usage=USAGE, service_tier="priority"))
    answer = ask(http, model="normal", service_tier="priority")
    assert answer.status_code == 200
    assert "cost" not in answer.json()["usage"]
    assert "x-p2l-cost-usd" not in answer.headers


@pytest.mark.parametrize(
    ("body", "tier"),
    [
        ({}, None),
        ({"service_tier": "auto"}, None),
        ({"service_tier": "standard_only"}, None),
        ({"service_tier": "priority"}, "priority"),
        ({"speed": "fast"}, "fast"),
        ({"speed": "standard", "inference_geo": "global"}, None),
        ({"speed": "fast", "inference_geo": "us"}, "fast+us"),
        ({"inference_geo": "somewhere"}, "other"),
        ({"service_tier": []}, "other"),
    ],
)
def test_what_makes_a_tier(body: dict[str, Any], tier: str | None) -> None:
    assert tier_of(body) == tier


@pytest.mark.parametrize("factor", ["{priority: 0}", "{priority: .inf}", "{default: 1}"])
def test_bad_tier_prices_are_named(factor: str) -> None:
    with pytest.raises(ConfigError, match="tier_prices"):
        parse_settings(
            "providers: {main: {kind: sandbox}}\n"
            f"models: {{m: {{provider: main, tier_prices: {factor}}}}}"
        )


UNTOLD = """
providers:
  vllm: {{kind: openai, base_url: "{plain}", profile: vllm}}
  claude: {{kind: anthropic, base_url: "{claude}"}}
models:
  qwen: {{provider: vllm, upstream_model: up, input_usd_per_mtok: 5, output_usd_per_mtok: 15,
         cached_input_usd_per_mtok: 1, tier_prices: {{flex: 0.5, priority: 2}}}}
  claude-sonnet-4-5: {{provider: claude, input_usd_per_mtok: 5, output_usd_per_mtok: 15}}
scorer: {{fixed: {{qwen: 0, claude-sonnet-4-5: 1}}}}
"""
SURFACES: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"input": "Hi"},
}


@pytest.mark.parametrize("surface", sorted(SURFACES))
@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_a_provider_without_tiers_is_not_told_and_paid_at_its_normal_price(
    surface: str, tier: str
) -> None:
    with FakeProvider() as provider, FakeAnthropic() as claude:
        provider.script("up", Behaviour(usage=USAGE))
        text = UNTOLD.format(plain=provider.base_url, claude=claude.base_url)
        with LiveGateway(text) as live:
            for model in ("qwen", "claude-sonnet-4-5"):
                body = SURFACES[surface] | {"model": model, "service_tier": tier}
                headers = {"x-cost-budget": "1"}
                url = f"{live.url}/v1/{surface}"
                answer = httpx.post(url, json=body, headers=headers, trust_env=False)
                assert answer.status_code == 200, answer.text
                assert "service_tier" in answer.headers["x-p2l-left-out-fields"]
                if model == "qwen":
                    assert Decimal(answer.headers["x-p2l-cost-usd"]) == NORMAL
                assert answer.json().get("service_tier") in (None, "default")
        for asked in (*claude.requests, *provider.requests):
            assert "service_tier" not in asked.body
