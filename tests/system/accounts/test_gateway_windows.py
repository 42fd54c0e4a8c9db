"""Window budgets through a live gateway: never above, nearly all of it, over a restart too."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

HELLO = {"model": "dear", "messages": [{"role": "user", "content": "Hello there"}]}
USAGE = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
COST = (Decimal(100) * 5 + Decimal(100) * 15) / 10**6  # 0.002 USD
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "B": "key-b"}


def windows(amount: str, window_s: int = 3600, per: str = "global", extra: str = "") -> str:
    budget = f"{{amount_usd: {amount}, window_s: {window_s}, per: {per}}}"
    return f"routing: {{window_budgets: [{budget}]}}\n{extra}"


def post(url: str, body: dict[str, Any] = HELLO, key: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(trust_env=False, verify=False, timeout=20) as http:
        return http.post(f"{url}/v1/chat/completions", json=body, headers=headers)


@pytest.mark.slow
def test_a_window_is_spent_and_no_more(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    config = config_for(provider.base_url, windows("0.05"))
    with LiveGateway(config, ENVIRON) as live:
        answers = [post(live.url, HELLO | {"max_tokens": 120}) for _ in range(30)]
    good = [a for a in answers if a.status_code == 200]
    spent = sum(Decimal(a.headers["x-p2l-cost-usd"]) for a in good)
    assert spent == COST * len(good)
    assert Decimal("0.045") <= spent <= Decimal("0.05")
    refused = answers[-1]
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "budget_exhausted"
    assert 3000 <= int(refused.headers["retry-after"]) <= 3610
    assert len(provider.chats) == len(good)


@pytest.mark.slow
def test_many_at_once_do_not_overspend(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE, first_delay_s=0.05))
    config = config_for(provider.base_url, windows("0.05"))
    with LiveGateway(config, ENVIRON) as live, ThreadPoolExecutor(12) as pool:
        body = HELLO | {"max_tokens": 110}
        answers = list(pool.map(lambda _: post(live.url, body), range(60)))
    good = [a for a in answers if a.status_code == 200]
    assert {a.status_code for a in answers} == {200, 429}
    assert 20 * COST <= COST * len(good) <= Decimal("0.05")


@pytest.mark.slow
def test_without_a_cap_one_is_sent_that_the_window_pays_for(provider: FakeProvider) -> None:
    config = config_for(provider.base_url, windows("0.01"))
    with LiveGateway(config, ENVIRON) as live:
        answer = post(live.url)
    cap = int(answer.headers["x-p2l-max-output-tokens"])
    assert 256 <= cap <= 0.01 / 15e-6
    assert provider.chats[0].body["max_completion_tokens"] == cap


def test_a_routed_request_takes_a_cheaper_model_before_it_is_refused(
    provider: FakeProvider,
) -> None:
    config = config_for(provider.base_url, windows("0.003"))
    with LiveGateway(config, ENVIRON) as live:
        answer = post(live.url, HELLO | {"model": "p2l"})
        assert answer.headers["x-p2l-model"] == "middle"
        assert post(live.url).json()["error"]["code"] == "budget_exhausted"


@pytest.mark.slow
def test_a_refusal_names_what_the_cheapest_model_can_cost(provider: FakeProvider) -> None:
    body = HELLO | {"model": "p2l"}
    with LiveGateway(config_for(provider.base_url, windows("0.000001")), ENVIRON) as live:
        message = post(live.url, body).json()["error"]["message"]
    said = re.search(r"could cost (\S+) USD or more", message)
    assert said is not None
    with LiveGateway(config_for(provider.base_url, windows(said[1])), ENVIRON) as live:
        assert post(live.url, body).headers["x-p2l-model"] == "cheap"


def test_the_window_rolls(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    config = config_for(provider.base_url, windows("0.003", window_s=1))
    body = HELLO | {"max_tokens": 110}
    with LiveGateway(config, ENVIRON) as live:
        assert post(live.url, body).status_code == 200
        refused = post(live.url, body)
        assert refused.status_code == 429
        time.sleep(int(refused.headers["retry-after"]))
        assert post(live.url, body).status_code == 200


@pytest.mark.parametrize("per", ["key", "global"])
def test_each_key_has_its_own_or_all_share_one(provider: FakeProvider, per: str) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    keys = "auth: {keys: [{name: a, key_env: A}, {name: b, key_env: B}]}"
    config = config_for(provider.base_url, windows("0.003", per=per, extra=keys))
    body = HELLO | {"max_tokens": 110}
    with LiveGateway(config, ENVIRON) as live:
        assert post(live.url, body, "key-a").status_code == 200
        assert post(live.url, body, "key-a").status_code == 429
        assert post(live.url, body, "key-b").status_code == (200 if per == "key" else 429)


def test_a_keys_own_budget_without_a_window_is_for_ever(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    keys = "auth: {keys: [{name: a, key_env: A, budget_usd: 0.003}, {name: b, key_env: B}]}"
    body = HELLO | {"max_tokens": 110}
    with LiveGateway(config_for(provider.base_url, keys), ENVIRON) as live:
        assert post(live.url, body, "key-a").status_code == 200
        assert post(live.url, body, "key-a").status_code == 429
        assert post(live.url, body, "key-b").status_code == 200


def test_failed_attempts_give_their_reservation_back(provider: FakeProvider) -> None:
    provider.script("up-dear", *[Behaviour(status=500)] * 3, Behaviour(usage=USAGE))
    config = config_for(
        provider.base_url,
        windows("0.0031", extra="").replace(
            "routing: {", "routing: {retries: 0, breaker: {consecutive_failures: 50}, "
        ),
    )
    body = HELLO | {"max_tokens": 110}
    with LiveGateway(config, ENVIRON) as live:
        assert [post(live.url, body).status_code for _ in range(4)] == [502, 502, 502, 200]


def test_a_restart_forgets_nothing(provider: FakeProvider, tmp_path: Path) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    storage = f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}'
    config = config_for(provider.base_url, windows("0.005", extra=storage))
    body = HELLO | {"max_tokens": 110}
    with LiveGateway(config, ENVIRON) as live:
        assert [post(live.url, body).status_code for _ in range(2)] == [200, 200]
    with LiveGateway(config, ENVIRON) as live:
        assert post(live.url, body).status_code == 429
