"""Outages over real sockets: failing fast, coming back, asking once more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from broken_stream import read_stream
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

KEY = "sk-provider-canary"
LONE: dict[str, Any] = {"model": "cheap", "messages": [{"role": "user", "content": "Hello"}]}
ROUTED = LONE | {"model": "p2l"}
QUICK = "routing: {retries: 0, breaker: {consecutive_failures: 2, open_s: 0.3}}"


@pytest.fixture
def quick(provider: FakeProvider) -> Iterator[httpx.Client]:
    """A gateway whose breakers open after two failures, for 0.3 s, and which waits a second."""
    config = config_for(provider.base_url, QUICK, patience_s=1)
    with (
        LiveGateway(config, {"MAIN_KEY": KEY}) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        yield http


def post(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/chat/completions", json=body)


@pytest.mark.slow
def test_a_lone_model_that_hangs_fails_fast_and_comes_back(
    quick: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-cheap", Behaviour(first_delay_s=30))
    assert [post(quick, LONE).status_code for _ in range(2)] == [504, 504]
    refused = post(quick, LONE)
    assert refused.status_code == 504
    assert int(refused.headers["retry-after"]) >= 1
    assert len(provider.chats) == 2, "nothing is sent, and so nothing is waited for"
    provider.script("up-cheap", Behaviour())
    time.sleep(0.4)
    assert [post(quick, LONE).status_code for _ in range(3)] == [200] * 3


def test_a_failing_favourite_is_left_out_of_the_choice(
    quick: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-dear", Behaviour(status=500))
    attempts = [post(quick, ROUTED).headers["x-p2l-attempts"] for _ in range(4)]
    assert attempts == ["2", "2", "1", "1"]
    assert post(quick, ROUTED).headers["x-p2l-mix"] == "middle=1"


def test_when_every_model_rests_the_caller_is_told_to_wait_not_to_change(
    quick: httpx.Client, provider: FakeProvider
) -> None:
    for name in ("up-dear", "up-middle", "up-cheap"):
        provider.script(name, Behaviour(status=500))
    for _ in range(2):
        post(quick, ROUTED)
    refused = post(quick, ROUTED)
    assert refused.status_code == 502
    assert refused.json()["error"]["code"] == "upstream_error"
    assert "retry-after" in refused.headers


def test_a_budget_that_only_a_resting_model_fits_is_no_fault_of_the_callers(
    quick: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-cheap", Behaviour(status=500))
    for _ in range(2):
        post(quick, LONE)
    budget = {"x-cost-budget": "0.0001"}
    refused = quick.post("/v1/chat/completions", json=ROUTED, headers=budget)
    assert refused.status_code == 502
    hopeless = {"x-cost-budget": "0.00000001"}
    refused = quick.post("/v1/chat/completions", json=ROUTED, headers=hopeless)
    assert refused.json()["error"]["code"] == "budget_infeasible"


def test_a_lone_model_is_asked_once_more_where_that_costs_nothing(
    client: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-cheap", Behaviour(status=503), Behaviour())
    response = post(client, LONE)
    assert response.status_code == 200
    assert response.headers["x-p2l-attempts"] == "2"


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(first_delay_s=30),  # may be billed
        Behaviour(garbage=b"{"),  # may be billed
        Behaviour(status=401),  # will not change
        Behaviour(status=503, headers={"retry-after": "9"}),  # asked to be left alone
    ],
)
def test_a_lone_model_is_not_asked_once_more_where_it_might(
    hurried: httpx.Client, provider: FakeProvider, behaviour: Behaviour
) -> None:
    provider.script("up-cheap", behaviour)
    response = post(hurried, LONE)
    assert response.status_code in (502, 504)
    assert len(provider.chats) == 1
    if "retry-after" in behaviour.headers:
        assert response.headers["retry-after"] == "9"
        assert response.status_code == 502, "429 is for upstreams that said 429"


def test_an_answer_may_not_go_on_for_ever(provider: FakeProvider) -> None:
    endless = Behaviour(texts=("tick ",) * 500, chunk_delay_s=0.02)
    provider.script("up-cheap", endless)
    config = config_for(provider.base_url)
    config = config.replace("idle_timeout_s: 20", "total_timeout_s: 0.4")
    with (
        LiveGateway(config, {"MAIN_KEY": KEY}) as live,
        httpx.Client(base_url=live.url, trust_env=False) as caller,
    ):
        response = read_stream(caller, "/v1/chat/completions", LONE | {"stream": True})
    assert '"code":"upstream_timeout"' in response.text
    assert provider.chats[0].over.wait(5)
    assert provider.chats[0].aborted


@pytest.mark.slow
def test_a_hard_budget_that_a_lost_answer_may_have_used_up_is_not_spent_twice(
    hurried: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-dear", Behaviour(first_delay_s=30))
    hard = {"x-cost-budget": "0.01", "x-cost-budget-mode": "hard"}
    response = hurried.post("/v1/chat/completions", json=ROUTED, headers=hard)
    assert response.status_code == 504
    assert len(provider.chats) == 1
    capped = ROUTED | {"max_completion_tokens": 50}
    response = hurried.post("/v1/chat/completions", json=capped, headers=hard)
    assert response.status_code == 200
    assert response.headers["x-p2l-attempts"] == "2"
