"""A webhook is told of budgets that are nearly spent: windows, keys and sessions; signed, tried
again, without a text, and to no address that is not meant."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from hook import SECRET, Hook, hook, is_signed
from live_gateway import LiveGateway, config_for
from services import RedisServer, redis_server

from server.alerts.levels import Alert
from server.alerts.sending import Sender, Target, signature, target_of
from server.config.file import ConfigError, parse_settings
from server.config.secret import Secret
from server.config.settings import AlertSettings
from server.ledger.window import WindowSpec

PROMPT = "prompt-canary"
ANSWER = "answer-canary"
# dear: 5 USD for a million tokens of input, 15 of output; this answer costs 0.0575 USD.
USAGE = {"prompt_tokens": 10_000, "completion_tokens": 500, "total_tokens": 10_500}
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "HOOK_SECRET": SECRET, "A": "a-key", "ADMIN": "admin"}


def config(provider: FakeProvider, receiver: Hook, extra: str) -> str:
    alerts = f'alerts: {{url: "{receiver.url}", secret_env: HOOK_SECRET}}\n'
    return config_for(provider.base_url, alerts + extra)


def ask(http: httpx.Client, **headers: str) -> httpx.Response:
    body = {"model": "dear", "max_tokens": 500, "messages": [{"role": "user", "content": PROMPT}]}
    return http.post("/v1/chat/completions", json=body, headers=headers)


def client(gateway: LiveGateway, key: str = "a-key") -> httpx.Client:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=gateway.url, headers=headers, trust_env=False)


@pytest.fixture
def dear(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    provider.script("up-dear", Behaviour(texts=(ANSWER,), usage=USAGE))
    return provider


def test_a_window_is_told_at_80_and_at_100_percent(
    dear: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    with hook() as receiver:
        extra = "routing: {window_budgets: [{amount_usd: 0.14, window_s: 86400}]}"
        text = config(dear, receiver, extra)
        with LiveGateway(text, ENVIRON) as gateway, client(gateway) as http:
            assert ask(http).status_code == 200
            assert ask(http).status_code == 200  # 0.115 of 0.14: 82%
            (first,) = receiver.alerts(1)
            assert (first["scope"], first["percent"]) == ("gateway", 80)
            assert (first["amount_usd"], first["spent_usd"]) == ("0.14", "0.115")
            assert first["window_s"] == 86400
            body = {"model": "dear", "max_tokens": 4000,
                    "messages": [{"role": "user", "content": PROMPT}]}  # fmt: skip
            refused = http.post("/v1/chat/completions", json=body)
            assert refused.status_code == 429, refused.text
            second = receiver.alerts(2)[1]
            assert (second["percent"], second["refused"]) == (100, True)
            http.post("/v1/chat/completions", json=body)
            told = 'p2l_gateway_budget_alerts_total{outcome="delivered"} 2.0'
            assert any(told in http.get("/metrics").text for _ in range(100))
        assert len({alert["id"] for alert in receiver.alerts(2)}) == 2
        assert len(receiver.got) == 2
        for headers, posted in receiver.got:
            assert is_signed(headers, posted)
            for word in (PROMPT, ANSWER, SECRET, "sk-provider", "a-key"):
                assert word.encode() not in posted
    assert "token-canary" not in caplog.text


def test_a_key_and_a_session_are_told_of_each(dear: FakeProvider) -> None:
    with hook() as receiver:
        extra = (
            "auth: {keys: [{name: alice, key_env: A, budget_usd: 0.07, session_budget_usd: 0.065},"
            " {name: admin, key_env: ADMIN, admin: true}]}"
        )
        with (
            LiveGateway(config(dear, receiver, extra), ENVIRON) as gateway,
            client(gateway) as http,
        ):
            assert ask(http, **{"x-session-id": "job-name-canary"}).status_code == 200
            told = {alert["scope"]: alert for alert in receiver.alerts(2)}
        assert told["key"]["key"] == told["session"]["key"] == "alice"
        assert told["key"]["session"] is None
        assert told["session"]["amount_usd"] == "0.065"
        assert "job-name-canary" not in str(told), "a session has a keyed hash"


def test_after_a_restart_it_is_not_told_again(dear: FakeProvider, tmp_path: Path) -> None:
    with hook() as receiver:
        extra = (
            "routing: {window_budgets: [{amount_usd: 0.14, window_s: 86400}]}\n"
            f'storage: {{url: "sqlite:///{tmp_path}/ledger.db"}}'
        )
        text = config(dear, receiver, extra)
        with LiveGateway(text, ENVIRON) as gateway, client(gateway) as http:
            ask(http)
            ask(http)
            receiver.alerts(1)
            stored(gateway, "alert:global:86400")
        dear.script("up-dear", Behaviour(texts=("x",), usage=USAGE | {"prompt_tokens": 1}))
        with LiveGateway(text, ENVIRON) as gateway, client(gateway) as http:
            assert ask(http).status_code == 200
            receiver_saw = gateway.state.gateway.accounts.watch
            assert receiver_saw is not None
            wait_for_look(gateway)
        assert len(receiver.got) == 1


@pytest.mark.slow
@pytest.mark.services
def test_two_gateways_tell_once(dear: FakeProvider, tmp_path: Path, redis: RedisServer) -> None:
    with hook() as receiver:
        extra = (
            "routing: {window_budgets: [{amount_usd: 0.14, window_s: 86400}]}\n"
            f'storage: {{url: "sqlite:///{tmp_path}/ledger.db"}}\n'
            f'redis: {{url: "{redis.url}", prefix: "{uuid4().hex}"}}'
        )
        text = config(dear, receiver, extra)
        with (
            LiveGateway(text, ENVIRON) as one, client(one) as first,
            LiveGateway(text, ENVIRON) as other, client(other) as second,
        ):  # fmt: skip
            dear.script("up-dear", Behaviour(texts=("x",), usage=USAGE | {"prompt_tokens": 1}))
            assert ask(second).status_code == 200
            wait_for_look(other)
            dear.script("up-dear", Behaviour(texts=("x",), usage=USAGE))
            ask(first)
            ask(first)
            receiver.alerts(1)
            stored(one, "alert:global:86400")
            dear.script("up-dear", Behaviour(texts=("x",), usage=USAGE | {"prompt_tokens": 1}))
            assert ask(second).status_code == 200
            wait_for_look(other)
        assert [alert["percent"] for alert in receiver.alerts(1)] == [80]


def stored(gateway: LiveGateway, name: str) -> None:
    from server.storage.states import read_state

    for _ in range(200):
        if read_state(gateway.state.store.database, name):
            return
        time.sleep(0.02)
    raise AssertionError(name)


def wait_for_look(gateway: LiveGateway) -> None:
    """Until the news of the last settlement was looked at."""
    alerts: Any = gateway.state.gateway.accounts.watch
    for _ in range(200):
        if alerts.__self__._reached._told and not alerts.__self__._seen:
            return
        time.sleep(0.02)
    raise AssertionError("nothing was looked at")


@pytest.mark.services
def test_without_redis_it_goes_on_afterwards(dear: FakeProvider, tmp_path: Path) -> None:
    """What cannot be counted just now is counted by the next settlement."""
    with hook() as receiver, redis_server() as redis:
        extra = (
            "routing: {window_budgets: [{amount_usd: 0.14, window_s: 86400}]}\n"
            f'storage: {{url: "sqlite:///{tmp_path}/ledger.db"}}\nredis: {{url: "{redis.url}"}}'
        )
        with (
            LiveGateway(config(dear, receiver, extra), ENVIRON) as gateway,
            client(gateway) as http,
        ):
            assert ask(http).status_code == 200
            redis.stop()
            assert ask(http).status_code == 503
            redis.start()
            for _ in range(100):
                if ask(http).status_code == 200:
                    break
            (alert,) = receiver.alerts(1)
            assert alert["percent"] >= 80


ALERT = Alert(WindowSpec("alice", 10_000, 60), 80, 8_500, refused=False, period=1)


def sender(pauses: list[float]) -> Sender:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    return Sender(lambda: 1_796_000_000.0, pause, {})


@pytest.mark.anyio
async def test_a_receiver_that_fails_is_tried_again() -> None:
    pauses: list[float] = []
    with hook(500, 429, 503, 200) as receiver:
        target = Target(Secret(receiver.url), Secret(SECRET), allow_private=False)
        assert await sender(pauses).send(ALERT, target)
        assert len(receiver.got) == 4
        assert pauses == [1.0, 2.0, 4.0]
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "tries"), [(404, 1), (302, 1), (500, 14)])
async def test_it_gives_up_and_says_so_without_the_url(
    caplog: pytest.LogCaptureFixture, status: int, tries: int
) -> None:
    pauses: list[float] = []
    with hook() as elsewhere, hook(status, location=elsewhere.url) as receiver:
        target = Target(Secret(receiver.url), Secret(SECRET), allow_private=False)
        with caplog.at_level(logging.ERROR):
            assert not await sender(pauses).send(ALERT, target)
        assert len(receiver.got) == tries
        assert elsewhere.got == [], "a redirect is not followed"
    assert max(pauses, default=0.0) <= 60.0
    assert f"127.0.0.1: status {status}" in caplog.text
    assert "token-canary" not in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "endless", "accepted"), [(200, True, True), (0, False, False)])
async def test_a_receiver_keeps_nothing_waiting(
    monkeypatch: pytest.MonkeyPatch, status: int, endless: bool, accepted: bool
) -> None:
    """Neither by an answer without an end nor by none at all."""
    monkeypatch.setattr("server.alerts.sending._TIMEOUT_S", 0.5)
    monkeypatch.setattr("server.alerts.sending._TRIES", 2)
    with hook(status, endless=endless) as receiver:
        target = Target(Secret(receiver.url), Secret(SECRET), allow_private=False)
        async with asyncio.timeout(20):
            assert await sender([]).send(ALERT, target) is accepted
        assert len(receiver.got) == (1 if accepted else 2)


def test_a_receiver_that_refuses_is_not_called_for_each_request(
    dear: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    with hook(404, 204) as receiver:
        extra = "routing: {window_budgets: [{amount_usd: 0.14, window_s: 86400}]}"
        with (
            LiveGateway(config(dear, receiver, extra), ENVIRON) as gateway,
            client(gateway) as http,
        ):
            alerts: Any = gateway.state.gateway.accounts.watch
            alerts.__self__._pause_s = 1.0
            ask(http)
            ask(http)
            receiver.alerts(1)
            dear.script("up-dear", Behaviour(texts=("x",), usage=USAGE | {"prompt_tokens": 1}))
            until(lambda: "could not be delivered" in caplog.text)
            assert ask(http).status_code == 200
            wait_for_look(gateway)
            assert len(receiver.got) == 1
            until(lambda: 0 in alerts.__self__._reached._told.values())
            ask(http)
            receiver.alerts(2)
        assert len({alert["id"] for alert in receiver.alerts(2)}) == 1


def until(holds: Callable[[], bool]) -> None:
    for _ in range(400):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it does not come")


@pytest.mark.anyio
async def test_no_private_address_is_connected_to(caplog: pytest.LogCaptureFixture) -> None:
    """0.0.0.0 leads to this machine, where the receiver would answer; it is no public address. The
    rule holds when it connects, whatever the configuration's own check has passed."""
    with hook() as receiver:
        url = receiver.url.replace("127.0.0.1", "0.0.0.0")
        for allow_private in (False, True):
            target = Target(Secret(url), Secret(SECRET), allow_private)
            assert await sender([]).send(ALERT, target) is allow_private
            assert len(receiver.got) == int(allow_private)
    assert "could not be delivered to 0.0.0.0: UnreachableError" in caplog.text


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ('{url: "https://hooks.example.com/x"}', "secret_env is missing"),
        ('{url: "http://10.0.0.7/x", secret_env: S}', "url names 10.0.0.7"),
        ('{url: "http://0xa000007/x", secret_env: S}', "means the address 10.0.0.7"),
        ('{url: "file:///etc/passwd", secret_env: S}', "must begin with http"),
        ('{url: "https://a.example", url_env: U, secret_env: S}', "one of url and url_env"),
        ('{url: "https://a.example", secret_env: S, at_percent: [0]}', "at_percent"),
        ('{url: "https://a.example", secret_env: S, at_percent: []}', "at least one share"),
    ],
)
def test_mistakes_in_the_configuration_are_named(section: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_settings(f"alerts: {section}")


def test_missing_variables_are_named_without_their_values() -> None:
    settings = AlertSettings(url_env="HOOK", secret_env="SECRET")
    assert target_of(AlertSettings(), {}) is None
    for environ, said in (
        ({}, "alerts.url_env: the variable HOOK"),
        ({"HOOK": "https://a.example"}, "alerts.secret_env: the variable SECRET"),
        ({"HOOK": "http://10.0.0.7/token-canary", "SECRET": "x"}, "10.0.0.7"),
    ):
        with pytest.raises(ConfigError, match=said) as error:
            target_of(settings, environ)
        assert "token-canary" not in str(error.value)


def test_a_standard_secret_is_decoded() -> None:
    """The example of standardwebhooks.com."""
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert base64.b64decode(signed.removeprefix("v1,"))
