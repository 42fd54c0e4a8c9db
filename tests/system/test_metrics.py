"""GET /metrics: what Prometheus reads, with few labels and nothing that a caller typed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for
from prometheus_client.parser import text_string_to_metric_families

CHAT = {"model": "p2l", "messages": [{"role": "user", "content": "the canary sings"}]}
CONFIG = """
auth: {keys: [{name: callers-name, key_env: A}, {name: boss, key_env: C, admin: true}]}
routing: {retries: 0, window_budgets: [{amount_usd: 5, window_s: 60}]}
"""
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "C": "key-c"}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def client(provider: FakeProvider) -> Iterator[httpx.Client]:
    with (
        LiveGateway(config_for(provider.base_url, CONFIG), ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, verify=False, timeout=20) as http,
    ):
        yield http


def scraped(client: httpx.Client) -> tuple[str, Samples]:
    response = client.get("/metrics", headers=bearer("key-c"))
    assert response.status_code == 200
    return response.text, {
        (
            sample.name.removeprefix("p2l_gateway_"),
            tuple(sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_requests_tokens_and_cost_are_counted(client: httpx.Client, provider: FakeProvider) -> None:
    answer = client.post("/v1/chat/completions", json=CHAT, headers=bearer("key-a"))
    provider.script("up-dear", Behaviour(status=500))
    client.post("/v1/chat/completions", json=CHAT, headers=bearer("key-a"))
    client.get("/v1/models/of-the-callers-own", headers=bearer("key-a"))
    client.get("/made/up", headers=bearer("key-a"))
    text, found = scraped(client)
    route = ("route", "/v1/chat/completions")
    assert found["requests_total", (("code", "200"), route)] == 2
    assert found["requests_total", (("code", "404"), ("route", "other"))] == 1
    dear = (("model", "dear"), ("outcome", "answered"), ("provider", "main"))
    assert found["attempts_total", dear] == 1
    assert found["attempts_total", (dear[0], ("outcome", "unavailable"), dear[2])] == 1
    assert found["decisions_total", (("model", "middle"), ("scoring", "prompt"))] == 1
    cost = found["cost_usd_total", (("model", "dear"), ("source", "usage"))]
    assert cost == pytest.approx(float(Decimal(answer.headers["x-p2l-cost-usd"])))
    assert found["tokens_total", (("kind", "prompt_tokens"), ("model", "dear"))] > 0
    assert found["hop_seconds_count", (("hop", "upstream"),)] == 2
    assert found["window_amount_usd", (("window", "global:60"),)] == 5
    assert found["window_spent_usd", (("window", "global:60"),)] >= cost
    assert found["storage_up", ()] == 1
    assert found["breaker", (("kind", "model"), ("name", "dear"), ("state", "closed"))] == 1
    for canary in ("canary", "callers", "key-a", "made/up"):
        assert canary not in text


def test_only_admins_read_them(client: httpx.Client) -> None:
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=bearer("key-a")).status_code == 403


def test_the_page_on_metrics_names_each_of_them_and_no_other(client: httpx.Client) -> None:
    client.post("/v1/chat/completions", json=CHAT, headers=bearer("key-a"))
    text, _ = scraped(client)
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    exposed = set(re.findall(r"^# HELP (\w+)", text, re.M))
    exposed = {name for name in exposed if not name.endswith("_created")}
    assert set(re.findall(r"`(p2l_gateway_\w+)`", page)) == exposed


def test_the_end_of_a_model_is_told(provider: FakeProvider) -> None:
    config = config_for(provider.base_url).replace(
        "context_window: 128000,",
        "context_window: 128000, facts: {retirement: {day: 2031-02-03}},",
        1,
    )
    with (
        LiveGateway(config, ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False) as http,
    ):
        _, samples = scraped(http)
    assert samples["model_retires_seconds", (("model", "dear"),)] == 1_927_843_200


def test_requests_of_sessions_are_counted_by_what_decided_them(client: httpx.Client) -> None:
    for _ in range(3):
        headers = bearer("key-a") | {"x-session-id": "job"}
        assert client.post("/v1/chat/completions", json=CHAT, headers=headers).status_code == 200
    _, samples = scraped(client)
    assert samples["session_requests_total", (("kept", "new"),)] == 1
    others = [n for (name, _), n in samples.items() if name == "session_requests_total"]
    assert sum(others) == 3
