"""routing.constraints: declared, kept by the mix, told where they cannot be kept."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for

from server.config.file import ConfigError, parse_settings

KEY = "sk-provider-canary"
RULES = """
routing:
  profiles:
    spread: {constraints: {provider_shares: {main: 1.0}, min_value: 0.5}}
    budgets: {constraints: {budgets: [{name: dear, amount_usd: 0.0001, models: [dear]}]}}
    never: {constraints: {min_value: 0.99}}
    quick: {constraints: {max_latency_s: 0.000001}}
"""
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def client(provider: FakeProvider) -> Any:
    with (
        LiveGateway(config_for(provider.base_url, RULES), {"MAIN_KEY": KEY}) as live,
        httpx.Client(base_url=live.url, timeout=30) as client,
    ):
        yield client


def test_constraints_of_a_profile_are_kept(client: httpx.Client) -> None:
    cheap = client.post("/v1/route", json=BODY | {"model": "p2l:spread"}).json()
    assert cheap["lane"] == "solver"
    assert cheap["mix_value"] >= 0.5 - 1e-6
    assert cheap["mix"].keys() == {"middle", "cheap"}
    some = client.post("/v1/route", json=BODY | {"model": "p2l:budgets"}).json()
    assert 0 < some["mix"]["dear"] < 0.2
    assert client.post("/v1/route", json=BODY).json()["lane"] == "closed_form"


def test_what_cannot_be_kept_is_named(client: httpx.Client) -> None:
    error = client.post("/v1/route", json=BODY | {"model": "p2l:never"}).json()["error"]
    assert error["code"] == "no_eligible_model"
    assert "min_value is at least 0.99, at most 0." in error["message"]


def test_latency_is_what_was_measured(client: httpx.Client) -> None:
    assert client.post("/v1/route", json=BODY | {"model": "p2l:quick"}).status_code == 200
    for model in ("dear", "middle", "cheap"):
        assert client.post("/v1/chat/completions", json=BODY | {"model": model}).is_success
    refused = client.post("/v1/route", json=BODY | {"model": "p2l:quick"})
    assert refused.status_code == 400
    assert "max_latency_s is at most 1e-06, at least" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "constraints",
    [
        "{}",
        "{min_value: 2}",
        "{provider_shares: {main: 1.5}}",
        "{budgets: [{name: a, amount_usd: 1, models: []}]}",
        "{max_latency_s: 0}",
        "{speed: 1}",
    ],
)
def test_bad_constraints_refuse_to_start(constraints: str) -> None:
    with pytest.raises(ConfigError, match=r":\d+: routing.constraints"):
        parse_settings(
            config_for("http://h/v1", f"routing:\n  constraints: {constraints}\n"),
        )
