"""What a change of model within a session costs, and when it is worth it: through a live gateway,
and where time passes over the gateway's own objects."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway
from played_jobs import PlayedJobs, card, receipt_of, said

from router.receipt import replay

KEY = "sk-provider-canary"
Message = dict[str, Any]
N_TOKENS = 10_000
LONG: list[Message] = [{"role": "user", "content": "word " * 8_000}]
OTHER: list[Message] = [{"role": "user", "content": "text " * 8_000}]
NEXT: list[Message] = [
    *LONG,
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "Go on."},
]
# a gains 0.015 of a win rate against both
CONFIG = """
providers: {{main: {{kind: openai, base_url: "{url}", api_key_env: MAIN_KEY}}}}
models:
  a: {{provider: main, upstream_model: up-a, input_usd_per_mtok: 10, output_usd_per_mtok: 1,
      cached_input_usd_per_mtok: 1, cache_write_usd_per_mtok: 12.5}}
  b: {{provider: main, upstream_model: up-b, input_usd_per_mtok: 10, output_usd_per_mtok: 1,
      cached_input_usd_per_mtok: 1, cache_write_usd_per_mtok: 12.5}}
scorer: {{fixed: {{a: 0.06, b: 0.0}}}}
routing: {{usd_per_win: {win}, sessions: {{min_gain: {least}}}}}
"""


def live(provider: FakeProvider, win: str = "null", least: str = "0.02") -> LiveGateway:
    usage = {"prompt_tokens": N_TOKENS, "completion_tokens": 10, "total_tokens": N_TOKENS + 10}
    for name in ("up-a", "up-b"):
        provider.script(name, *[Behaviour(usage=usage)] * 20)
    config = CONFIG.format(url=provider.base_url, win=win, least=least)
    return LiveGateway(config, {"MAIN_KEY": KEY})


@pytest.fixture
def priced(provider: FakeProvider) -> Iterator[httpx.Client]:
    """Where a win is worth 2 USD."""
    with live(provider, "2") as gateway, client_of(gateway) as client:
        yield client


def client_of(gateway: LiveGateway) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, trust_env=False, timeout=20)


def ask(
    client: httpx.Client,
    messages: list[Message],
    path: str = "/v1/chat/completions",
    **headers: str,
) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.post(path, json={"model": "p2l", "messages": messages}, headers=sent)
    assert response.status_code == 200, response.text
    return response


def model_of(response: httpx.Response) -> tuple[str, str]:
    return response.headers["x-p2l-model"], response.headers["x-p2l-kept"]


def stored(client: httpx.Client, response: httpx.Response) -> Any:
    for _ in range(200):
        found = client.get(f"/v1/decisions/{response.headers['x-request-id']}")
        if found.status_code == 200:
            return found.json()
        time.sleep(0.005)
    raise AssertionError("there is no receipt")


@pytest.mark.parametrize("named", [True, False])
def test_a_change_that_is_not_worth_its_price_is_not_made(
    priced: httpx.Client, named: bool
) -> None:
    """The better model gains 0.015 of a win, which is 0.03 USD, in each request.
    To read and to write all of the prompt costs 0.125 USD, where the cached one costs 0.01."""
    session = {"X_Session_Id": "job"} if named else {}
    first = ask(priced, LONG, X_Route_Models="b", **session)
    shown = ask(priced, NEXT, "/v1/route", **session)
    second = ask(priced, NEXT, **session)
    assert model_of(first) == ("b", "new")
    assert model_of(shown) == model_of(second) == ("b", "cache")
    assert shown.json()["is_held"]
    assert shown.headers["x-p2l-expected-cost-usd"] == second.headers["x-p2l-expected-cost-usd"]
    assert Decimal(second.headers["x-p2l-expected-cost-usd"]) < Decimal("0.02"), "as it is billed"
    receipt = stored(priced, second)
    request, decision = (receipt["attempts"][0][part] for part in ("request", "decision"))
    assert (request["held"], decision["is_held"]) == ("b", True)
    assert 0.9 < request["further_requests"] < 1.2
    assert decision["warm_costs_usd"].keys() == {"a", "b"}
    costs = {row["model"]: Decimal(row["expected_cost_usd"]) for row in decision["alternatives"]}
    assert costs["a"] > Decimal("0.12") > Decimal("0.02") > costs["b"]
    assert replay(receipt).differences == []
    assert ask(priced, OTHER).headers["x-p2l-model"] == "a", "another job"


@pytest.mark.slow
def test_the_price_of_a_change_is_worth_it_in_a_long_job(priced: httpx.Client) -> None:
    """Once this gateway's jobs are known to go on for long, the same change is made."""
    for request in range(60):
        ask(priced, [{"role": "user", "content": f"Short {request}"}], X_Session_Id="long")
    ask(priced, LONG, X_Route_Models="b", X_Session_Id="job")
    assert model_of(ask(priced, NEXT, X_Session_Id="job")) == ("a", "draw")


def test_an_allow_list_and_a_seed_win(priced: httpx.Client) -> None:
    ask(priced, LONG, X_Route_Models="b", X_Session_Id="job")
    only = ask(priced, NEXT, X_Session_Id="job", X_Route_Exclude="b")
    assert model_of(only) == ("a", "draw")
    ask(priced, OTHER, X_Route_Models="b", X_Session_Id="other")
    own = ask(priced, [*OTHER, *NEXT[1:]], X_Session_Id="other", X_Route_Seed="5")
    assert model_of(own) == ("b", "cache"), "a seed is a draw, and there is nothing to draw"
    assert stored(priced, own)["seed"] == 5


@pytest.mark.parametrize(
    ("least", "headers", "second"),
    [
        ("0.02", {}, ("b", "cache")),
        ("0.001", {}, ("a", "draw")),
        ("0.02", {"X_Cost_Budget": "10"}, ("b", "cache")),
        ("0.02", {"X_Cost_Budget": "10", "X_Cost_Budget_Mode": "hard"}, ("b", "cache")),
    ],
)
def test_where_cost_does_not_choose_a_change_must_gain_something(
    provider: FakeProvider, least: str, headers: dict[str, str], second: tuple[str, str]
) -> None:
    """Of short prompts too, which no provider caches."""
    with live(provider, least=least) as gateway, client_of(gateway) as client:
        begun: list[Message] = [{"role": "user", "content": "Hello"}]
        ask(client, begun, X_Route_Models="b", X_Session_Id="job")
        later = [*begun, {"role": "assistant", "content": "Yes?"}, *begun]
        response = ask(client, later, X_Session_Id="job", **headers)
        assert model_of(response) == second
        assert replay(stored(client, response)).differences == []
        assert ask(client, begun).headers["x-p2l-model"] == "a"


def test_without_sessions_a_change_is_priced_by_one_request(provider: FakeProvider) -> None:
    with live(provider) as gateway, client_of(gateway) as client:
        gateway.state.gateway.planner.jobs.is_on = False
        ask(client, LONG, X_Route_Models="b")
        response = ask(client, NEXT)
        assert response.headers["x-p2l-model"] == "a"
        request = stored(client, response)["attempts"][0]["request"]
        assert (request["held"], request["further_requests"]) == (None, 0.0)


CARDS = tuple(card(name, 10, cached_input_usd_per_mtok=Decimal(1)) for name in ("a", "b"))
COEFFICIENTS = {"a": 0.06, "b": 0.0}
WIN = {"usd_per_win": Decimal(2)}


async def test_what_is_held_is_held_for_as_long_as_the_provider_keeps_it() -> None:
    played = PlayedJobs(CARDS, COEFFICIENTS, **WIN)
    await played.ask(LONG, session="job", models=("b",))
    played.now_s = 299.0
    warm = await played.ask(NEXT, session="job", answered=False)
    assert (warm.decision.model, said(warm)) == ("b", "cache")
    played.now_s = 301.0
    cold = await played.ask(NEXT, session="job", answered=False)
    assert (cold.decision.model, said(cold)) == ("a", "draw")


async def test_at_another_effort_a_change_costs_nothing_more() -> None:
    """Unless the model's facts say otherwise, its cache is lost in any case."""
    played = PlayedJobs(CARDS, COEFFICIENTS, **WIN)
    await played.ask(LONG, session="job", models=("b",), effort="low")
    same = await played.ask(NEXT, session="job", effort="low", answered=False)
    assert (same.decision.model, said(same)) == ("b", "cache")
    other = await played.ask(NEXT, session="job", effort="high", answered=False)
    assert other.decision.request.cached_tokens == {}
    assert (other.decision.model, said(other)) == ("a", "draw")


async def test_the_model_before_the_last_one_still_holds_what_it_read() -> None:
    """Back to the first model is not the same as to one that has read nothing."""
    played = PlayedJobs(CARDS, COEFFICIENTS, **WIN)
    await played.ask(LONG, session="job", models=("a",))
    await played.ask(NEXT, session="job", models=("b",))
    later = [*NEXT, {"role": "assistant", "content": "Done."}, {"role": "user", "content": "So?"}]
    again = await played.ask(later, session="job")
    held = again.decision.request.cached_tokens
    assert held.keys() == {"a", "b"}
    assert held["a"] <= held["b"]
    assert again.decision.model == "a"


@pytest.mark.slow
async def test_a_mix_is_drawn_from_with_what_is_held() -> None:
    """Under a budget between both costs: who has drawn the dear model finds it cheaper from then
    on, and who has not finds it as dear as before. So no job changes, and the mean is kept."""
    cards = (
        card("a", 10, cached_input_usd_per_mtok=Decimal(1)),
        card("b", 1, cached_input_usd_per_mtok=Decimal("0.1")),
    )
    played = PlayedJobs(cards, {"a": 1.0, "b": 0.0})
    budget, changes, spent, granted = Decimal("0.03"), 0, Decimal(0), Decimal(0)
    models = set()
    for job in range(300):
        messages, before = list(LONG), None
        for _ in range(6):
            exchange = await played.ask(messages, session=f"job {job}", budget_usd=budget)
            decision = exchange.decision
            assert decision.mix_mean_cost_usd is not None
            assert decision.mix_mean_cost_usd <= budget
            changes += before not in (None, decision.model)
            before = decision.model
            spent += decision.expected_cost_usd or 0
            granted += budget
            messages += [
                {"role": "assistant", "content": "Yes."},
                {"role": "user", "content": "On"},
            ]
        models.add(before)
        assert replay(receipt_of(exchange)).differences == []
    assert changes <= 3
    assert spent <= granted * Decimal("1.02")
