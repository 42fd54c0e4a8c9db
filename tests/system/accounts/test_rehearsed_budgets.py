"""POST /v1/route under the budget of a session: what the request itself would get, for nothing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

from router.receipt import replay

ENVIRON = {"MAIN_KEY": "sk-provider-canary"}
HELLO = {"model": "p2l", "messages": [{"role": "user", "content": "Hello there"}]}
# these tell of the answer, which a dry decision has not
OF_ANSWERS = {
    "x-p2l-attempts",
    "x-p2l-cost-usd",
    "x-p2l-session-cost-usd",
    "x-p2l-session-left-usd",
}


def post(
    live: LiveGateway, path: str, body: dict[str, Any], budget: str, **headers: str
) -> httpx.Response:
    sent = {"x-session-id": "job", "x-session-budget": budget, "x-route-seed": "3", **headers}
    with httpx.Client(trust_env=False, timeout=20) as http:
        return http.post(f"{live.url}{path}", json=body, headers=sent)


def told(answer: httpx.Response) -> dict[str, str]:
    kinds = ("x-p2l-", "x-should-retry")
    names = [n for n in answer.headers if n.startswith(kinds) and n not in OF_ANSWERS]
    return {name: answer.headers[name] for name in names}


@pytest.mark.parametrize("cap", [None, 5, 100_000])
@pytest.mark.parametrize("budget", ["0", "0.00001", "0.0002", "0.002", "0.006", "5"])
def test_a_dry_decision_is_that_of_the_request(
    provider: FakeProvider, budget: str, cap: int | None
) -> None:
    body = HELLO if cap is None else HELLO | {"max_tokens": cap}
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        dry = post(live, "/v1/route", body, budget)
        assert not provider.requests
        answer = post(live, "/v1/chat/completions", body, budget)
        assert (dry.status_code, told(dry)) == (answer.status_code, told(answer))
        if dry.status_code != 200:
            assert dry.text == answer.text
            return
        assert dry.headers["x-p2l-session-left-usd"] == budget
        with httpx.Client(trust_env=False) as http:
            receipt = http.get(f"{live.url}/v1/decisions/{dry.headers['x-request-id']}").json()
    assert replay(receipt).differences == []
    assert dry.json()["model"] == dry.headers["x-p2l-model"]


def test_it_does_not_wait_for_what_others_have_reserved(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(first_delay_s=0.8))
    capped = HELLO | {"model": "dear", "max_tokens": 100}
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live, ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, live, "/v1/chat/completions", capped, "0.002")
        while not provider.requests:
            time.sleep(0.01)
        dry = post(live, "/v1/route", capped, "0.002")
        assert not first.done()
        assert first.result().status_code == 200
    assert (dry.status_code, dry.headers["x-p2l-model"]) == (200, "dear")
