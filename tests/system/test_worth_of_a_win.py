"""routing.usd_per_win and objective: global, by profile, by key; told in the decision."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

EXTRA = f"""
routing:
  usd_per_win: 0.001
  profiles:
    generous: {{usd_per_win: 10}}
    careless: {{usd_per_win: null}}
    grounded: {{objective: p_good}}
auth:
  keys:
    - {{name: plain, key_sha256: {hashlib.sha256(b"plain").hexdigest()}}}
    - {{name: rich, key_sha256: {hashlib.sha256(b"rich").hexdigest()}, usd_per_win: 5}}
"""


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        LiveGateway(config_for("http://127.0.0.1:9/v1", EXTRA), {"MAIN_KEY": "k"}) as gateway,
        httpx.Client(base_url=gateway.url) as client,
    ):
        yield client


def route(client: httpx.Client, key: str, model: str = "p2l") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return client.post("/v1/route", json=body, headers={"Authorization": f"Bearer {key}"})


@pytest.mark.parametrize(
    ("key", "model", "chosen", "worth"),
    [
        ("plain", "p2l", "cheap", 0.001),
        ("plain", "p2l:generous", "dear", 10),
        ("plain", "p2l:careless", "dear", None),
        ("rich", "p2l", "dear", 5),
    ],
)
def test_who_says_what_a_win_is_worth(
    client: httpx.Client, key: str, model: str, chosen: str, worth: float | None
) -> None:
    decision = route(client, key, model).json()
    assert decision["model"] == chosen
    assert decision["usd_per_win"] == worth
    assert decision["objective"] == "win_rate"
    assert ("not worth it at 0.001 USD a win" in decision["explanation"]) == (worth == 0.001)


def test_an_objective_that_the_leaderboard_has_not(client: httpx.Client) -> None:
    response = route(client, "plain", "p2l:grounded")
    assert response.status_code == 400
    assert "family grk or ba" in response.json()["error"]["message"]


def test_a_profile_says_how_many_further_models_are_tried() -> None:
    profiles = "routing: {profiles: {once: {fallbacks: 0}}, breaker: {consecutive_failures: 9}}"
    with (
        FakeProvider(api_key="k") as provider,
        LiveGateway(config_for(provider.base_url, profiles), {"MAIN_KEY": "k"}) as gateway,
        httpx.Client(base_url=gateway.url) as client,
    ):
        for model, status in (("p2l", 200), ("p2l:once", 502)):
            provider.script("up-dear", Behaviour(status=500))
            body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
            assert client.post("/v1/chat/completions", json=body).status_code == status


@pytest.mark.parametrize("own", [None, 5])
def test_a_window_that_changes_the_worth_is_named(own: float | None) -> None:
    worth = "" if own is None else f"usd_per_win: {own}, "
    extra = f"routing: {{{worth}window_budgets: [{{amount_usd: 1, window_s: 86400}}]}}"
    with (
        FakeProvider(api_key="k") as provider,
        LiveGateway(config_for(provider.base_url, extra), {"MAIN_KEY": "k"}) as gateway,
        httpx.Client(base_url=gateway.url) as client,
    ):
        first = route(client, "any").json()
        assert first["usd_per_win"] == first["own_usd_per_win"] == own
        assert "so that the budget" not in first["explanation"]
        body = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}]}
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        later = route(client, "any").json()
        assert later["own_usd_per_win"] == own
        assert later["usd_per_win"] < 0.1
        before = "" if own is None else " in place of 5"
        assert f" USD{before}, so that the budget of a window" in later["explanation"]
        named = client.post("/v1/route", json=body | {"model": "dear"}).json()
        assert named["own_usd_per_win"] is None
        assert "so that the budget" not in named["explanation"]
