"""GET /v1/key: what a caller learns of its own key, and of nobody else's."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for
from services import RedisServer

from server.cli import main

PROVIDER_KEY = "sk-provider-canary"
ENVIRON = {"MAIN_KEY": PROVIDER_KEY, "A": "key-a", "B": "key-b"}
CHAT: dict[str, Any] = {"model": "dear", "messages": [{"role": "user", "content": "Hi"}]}
USAGE = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
COST = Decimal("0.002")
KEYS = """
auth:
  keys:
    - {name: a, key_env: A, budget_usd: 0.05, window_s: 3600, max_request_usd: 0.03, models: [dear],
       session_budget_usd: 0.04,
       requests_per_minute: 600, tokens_per_minute: 90000, expires_at: "2999-01-01T00:00:00Z"}
    - {name: b, key_env: B, admin: true}
"""


@contextmanager
def served(text: str, key: str = "key-a") -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {key}"}
    with (
        LiveGateway(text, ENVIRON) as live,
        httpx.Client(base_url=live.url, headers=headers, trust_env=False, timeout=20) as http,
    ):
        yield http


def own(client: httpx.Client, **headers: str) -> dict[str, Any]:
    answer = client.get("/v1/key", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = json.loads(answer.text, parse_float=Decimal, parse_int=Decimal)
    return told


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def counted_in(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return ""
    server: RedisServer = request.getfixturevalue("redis")
    return f"redis: {{url: '{server.url}', prefix: '{tmp_path.name[:40]}'}}\n"


def test_limits_spend_and_what_is_left(provider: FakeProvider, counted_in: str) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    with served(config_for(provider.base_url, KEYS + counted_in)) as client:
        before = own(client)
        assert before["left_usd"] == Decimal("0.05")
        assert (before["spent_usd"], before["reserved_usd"]) == (0, 0)
        for _ in range(3):
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        deadline = time.monotonic() + 30
        while (after := own(client))["reserved_usd"] and time.monotonic() < deadline:
            time.sleep(0.02)
    assert after == {
        "object": "key",
        "name": "a",
        "admin": False,
        "models": ["dear"],
        "max_request_usd": Decimal("0.03"),
        "session_budget_usd": Decimal("0.04"),
        "budget_usd": Decimal("0.05"),
        "window_s": 3600,
        "spent_usd": 3 * COST,
        "reserved_usd": 0,
        "left_usd": Decimal("0.05") - 3 * COST,
        "requests_per_minute": 600,
        "tokens_per_minute": 90000,
        "expires_at": 32472144000,
        "windows": [
            {
                "budget_usd": Decimal("0.05"),
                "window_s": 3600,
                "spent_usd": 3 * COST,
                "reserved_usd": 0,
                "left_usd": Decimal("0.05") - 3 * COST,
            }
        ],
    }


@pytest.mark.slow
def test_what_is_under_way_is_reserved(provider: FakeProvider, counted_in: str) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE, first_delay_s=0.8))
    with served(config_for(provider.base_url, KEYS + counted_in)) as client:
        asking = threading.Thread(target=lambda: client.post("/v1/chat/completions", json=CHAT))
        asking.start()
        deadline = time.monotonic() + 30
        while (during := own(client))["reserved_usd"] == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        asking.join()
    assert 0 < during["reserved_usd"] <= Decimal("0.03")
    assert during["left_usd"] == Decimal("0.05") - during["reserved_usd"]


def test_windows_of_all_keys_count_and_tell_nothing_of_others(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    rules = (
        "routing: {window_budgets: [{amount_usd: 0.04, window_s: 60}, "
        "{amount_usd: 0.02, window_s: 7200, per: key}]}"
    )
    with served(config_for(provider.base_url, KEYS + rules)) as client:
        other = {"authorization": "Bearer key-b"}
        for _ in range(13):
            client.post("/v1/chat/completions", json={**CHAT, "max_tokens": 110}, headers=other)
        mine, others = own(client), own(client, **other)
    assert [window["window_s"] for window in mine["windows"]] == [7200, 3600]
    assert mine["spent_usd"] == 0
    assert others["spent_usd"] == others["windows"][0]["spent_usd"] > 0
    assert mine["left_usd"] == min(Decimal("0.02"), Decimal("0.04") - others["spent_usd"])
    assert (others["budget_usd"], others["max_request_usd"], others["models"]) == (None,) * 3


def test_an_open_gateway_tells_of_everybody(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    with served(config_for(provider.base_url)) as client:
        client.post("/v1/chat/completions", json=CHAT)
        told = own(client)
    assert (told["name"], told["admin"], told["left_usd"]) == ("anonymous", True, None)
    assert told["spent_usd"] == COST
    assert told["windows"] == []


def test_money_is_written_without_an_exponent(provider: FakeProvider) -> None:
    keys = KEYS.replace("0.03", "0.00000001")
    with served(config_for(provider.base_url, keys)) as client:
        assert '"max_request_usd":0.00000001' in client.get("/v1/key").text


def test_a_stored_key_has_its_ceiling(
    provider: FakeProvider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = config_for(provider.base_url, f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}\n')
    (tmp_path / "c.yaml").write_text(text)
    flags = ["--config", str(tmp_path / "c.yaml"), "--max-request-usd", "1e-8", "--json"]
    assert main(["keys", "create", "app", *flags]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["max_request_usd"] == "0.00000001"
    with served(text, made["key"]) as client:
        assert own(client)["max_request_usd"] == Decimal("1e-8")
        refused = client.post("/v1/chat/completions", json=CHAT)
        assert refused.json()["error"]["code"] == "budget_infeasible"


def test_an_admin_creates_a_key_with_a_ceiling(provider: FakeProvider) -> None:
    with served(config_for(provider.base_url, KEYS), "key-b") as client:
        made = client.post("/admin/keys", json={"name": "app", "max_request_usd": "0.5"}).json()
        assert made["max_request_usd"] == "0.5"
        told = own(client, authorization=f"Bearer {made['key']}")
        assert told["max_request_usd"] == Decimal("0.5")
        wrong = client.post("/admin/keys", json={"name": "x", "max_request_usd": -1})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "max_request_usd")


@pytest.mark.slow
def test_it_takes_a_key(provider: FakeProvider) -> None:
    with served(config_for(provider.base_url, KEYS), "nobody") as client:
        assert client.get("/v1/key").status_code == 401
