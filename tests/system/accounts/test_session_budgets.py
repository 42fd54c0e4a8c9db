"""Budgets of sessions through a live gateway: never above, over a restart and a kill too."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for
from serve_process import ServeProcess
from services import PostgresServer, RedisServer

from server.cli import main

HELLO = {"model": "dear", "messages": [{"role": "user", "content": "Hello there"}]}
CAPPED = HELLO | {"max_tokens": 110}
USAGE = {"prompt_tokens": 3, "completion_tokens": 99, "total_tokens": 102}
COST = Decimal("0.0015")  # of that; what is reserved is some more
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "B": "key-b"}


def post(
    live: LiveGateway | ServeProcess,
    body: dict[str, Any] = CAPPED,
    session: str | None = "job-1",
    budget: str | None = "0.0045",
    key: str = "",
    **headers: str,
) -> httpx.Response:
    sent = dict(headers)
    if session is not None:
        sent["x-session-id"] = session
    if budget is not None:
        sent["x-session-budget"] = budget
    if key:
        sent["authorization"] = f"Bearer {key}"
    with httpx.Client(trust_env=False, timeout=20) as http:
        return http.post(f"{live.url}/v1/chat/completions", json=body, headers=sent)


def code(answer: httpx.Response) -> str | None:
    found: str | None = answer.json().get("error", {}).get("code")
    return found


def test_a_session_spends_its_budget_and_no_more(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        first, second, refused = (post(live) for _ in range(3))
        assert post(live, session="job-2").status_code == 200
    assert [a.status_code for a in (first, second, refused)] == [200, 200, 429]
    for n, answer in enumerate((first, second), start=1):
        spent = Decimal(answer.headers["x-p2l-session-cost-usd"])
        left = Decimal(answer.headers["x-p2l-session-left-usd"])
        assert (spent, left) == (n * COST, Decimal("0.0045") - n * COST)
    assert code(refused) == "budget_exhausted"
    assert "0.003 USD of its budget of 0.0045 USD" in refused.json()["error"]["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert Decimal(refused.headers["x-p2l-session-left-usd"]) == Decimal("0.0015")


@pytest.mark.parametrize(
    ("headers", "body", "param"),
    [
        ({"x-session-budget": "much"}, {}, "X-Session-Budget"),
        ({"x-session-budget": "-1"}, {}, "X-Session-Budget"),
        ({}, {"p2l": {"session_budget_usd": "nan"}}, "p2l.session_budget_usd"),
        ({}, {"p2l": {"session_budget_usd": True}}, "p2l.session_budget_usd"),
        ({"x-session-budget": "1"}, {"p2l": {"session_budget_usd": 2}}, "X-Session-Budget"),
    ],
)
def test_a_bad_budget_is_refused_by_its_name(
    provider: FakeProvider, headers: dict[str, str], body: dict[str, Any], param: str
) -> None:
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        answer = post(live, CAPPED | body, budget=None, **headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_refusal_names_the_limit_to_raise(provider: FakeProvider) -> None:
    extra = "auth: {keys: [{name: a, key_env: A, session_budget_usd: 0.00001}]}\n"
    with LiveGateway(config_for(provider.base_url, extra), ENVIRON) as live:
        ceiling = post(live, budget="5", key="key-a").json()["error"]["message"]
        header = post(live, budget="0.000001", key="key-a").json()["error"]["message"]
    assert "Raise session_budget_usd of the key," in ceiling
    assert "Raise X-Session-Budget," in header


@pytest.mark.parametrize("limits", [{}, {"x-cost-budget": "0.002", "x-cost-budget-mode": "hard"}])
def test_the_amount_that_a_refusal_names_is_enough(
    provider: FakeProvider, limits: dict[str, str]
) -> None:
    body = HELLO | {"model": "p2l"}
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        refused = post(live, body, budget="0.000001", **limits)
        said = re.search(r"could cost (\S+) USD or more", refused.json()["error"]["message"])
        assert said is not None
        answer = post(live, body, budget=said[1])
    # that of the cheapest model, not of the one that would be chosen with more money
    assert (answer.status_code, answer.headers["x-p2l-model"]) == (200, "cheap")


@pytest.mark.slow
def test_many_at_once_do_not_overspend_and_wait_for_each_other(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE, first_delay_s=0.05))
    with (
        LiveGateway(config_for(provider.base_url), ENVIRON) as live,
        ThreadPoolExecutor(12) as pool,
    ):
        answers = list(pool.map(lambda _: post(live, budget="0.016"), range(24)))
    good = [a for a in answers if a.status_code == 200]
    # all that the budget pays for is answered, although it cannot all be reserved at once
    assert len(good) == 10
    assert {code(a) for a in answers if a.status_code != 200} == {"budget_exhausted"}


def test_where_others_hold_the_money_too_long_the_caller_is_told_to_come_again(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.gateway.reserving._WAIT_S", 0.2)
    provider.script("up-dear", Behaviour(usage=USAGE, first_delay_s=0.6))
    config = config_for(provider.base_url)
    with LiveGateway(config, ENVIRON) as live, ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: post(live, budget="0.003"), range(2)))
    good, told = sorted(both, key=lambda a: a.status_code)
    assert (good.status_code, told.status_code) == (200, 429)
    assert told.headers["retry-after"] == "1"
    assert "x-should-retry" not in told.headers


def test_the_last_value_holds_and_may_be_raised(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        assert post(live, budget="0.003").status_code == 200
        assert post(live, budget=None).status_code == 429
        assert post(live, budget="0.0045").status_code == 200
        assert post(live, budget=None).status_code == 429


def test_what_was_spent_before_a_budget_was_given_counts(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        free = post(live, budget=None)
        assert free.status_code == 200
        assert "x-p2l-session-cost-usd" not in free.headers
        assert post(live, budget="0.003").status_code == 429


def test_a_larger_cap_of_the_callers_is_lowered_to_what_fits(provider: FakeProvider) -> None:
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        answer = post(live, HELLO | {"max_tokens": 128_000}, budget="0.05")
        whole = post(live, HELLO | {"max_tokens": 300}, session="other", budget="0.05")
        none = post(live, HELLO | {"max_tokens": 300}, session="third", budget="0.003")
    cap = int(answer.headers["x-p2l-max-output-tokens"])
    assert 3_000 <= cap <= 0.05 / 15e-6
    assert provider.chats[0].body["max_tokens"] == cap
    assert "x-p2l-max-output-tokens" not in whole.headers
    assert code(none) == "budget_exhausted"


def test_a_routed_request_takes_a_cheaper_model_before_it_is_refused(
    provider: FakeProvider,
) -> None:
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        answer = post(live, HELLO | {"model": "p2l"}, budget="0.003")
        assert answer.headers["x-p2l-model"] == "middle"


def test_a_key_and_the_configuration_have_budgets_of_their_own(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    keys = (
        "auth: {keys: [{name: a, key_env: A, session_budget_usd: 0.003}, {name: b, key_env: B}]}\n"
        "routing: {sessions: {budget_usd: 0.0045}}"
    )
    with LiveGateway(config_for(provider.base_url, keys), ENVIRON) as live:
        # of the key: a default, and a ceiling
        assert post(live, budget=None, key="key-a").status_code == 200
        assert post(live, budget="9", key="key-a").status_code == 429
        # of the configuration: a default
        answers = [post(live, budget=None, key="key-b").status_code for _ in range(3)]
        assert answers == [200, 200, 429]
        assert post(live, budget="0.007", key="key-b").status_code == 200


@pytest.mark.slow
def test_a_stored_key_has_a_budget_for_each_session_that_can_be_changed(
    provider: FakeProvider,
) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    keys = "auth: {keys: [{name: boss, key_env: A, admin: true}]}"
    boss = {"authorization": "Bearer key-a"}
    with (
        LiveGateway(config_for(provider.base_url, keys), ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        terms = {"name": "app", "session_budget_usd": "0.003"}
        key = http.post("/admin/keys", json=terms, headers=boss).json()["key"]
        assert post(live, budget=None, key=key).status_code == 200
        refused = post(live, budget="9", key=key)
        assert (refused.status_code, code(refused)) == (429, "budget_exhausted")
        assert post(live, budget=None, session="job-2", key=key).status_code == 200
        more = {"session_budget_usd": "0.0045"}
        assert http.patch("/admin/keys/app", json=more, headers=boss).status_code == 200
        assert post(live, budget=None, key=key).headers["x-p2l-session-left-usd"] == "0.0015"
        assert post(live, budget=None, key=key).status_code == 429


def test_a_conversation_without_a_name_has_a_budget_too(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    turns = [{"role": "user", "content": "Hello there"}]
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        assert post(live, CAPPED | {"messages": turns}, session=None).status_code == 200
        turns += [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "On"}]
        second = post(live, CAPPED | {"messages": turns}, session=None)
        assert Decimal(second.headers["x-p2l-session-cost-usd"]) == 2 * COST
        turns += [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "And on"}]
        assert post(live, CAPPED | {"messages": turns}, session=None).status_code == 429
        # another conversation is another session
        assert post(live, session=None).status_code == 200


def test_a_stream_says_at_its_head_what_was_spent_before(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        post(live)
        streamed = post(live, CAPPED | {"stream": True})
        assert Decimal(streamed.headers["x-p2l-session-cost-usd"]) == COST
        assert post(live).status_code == 429


def test_a_restart_forgets_nothing(provider: FakeProvider, tmp_path: Path) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    storage = f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}'
    config = config_for(provider.base_url, storage)
    with LiveGateway(config, ENVIRON) as live:
        assert [post(live).status_code for _ in range(2)] == [200, 200]
    with LiveGateway(config, ENVIRON) as live:
        # the budget that was given last holds too
        assert post(live, budget=None).status_code == 429
        assert post(live, budget="0.009").headers["x-p2l-session-cost-usd"] == "0.0045"
    with closing(sqlite3.connect(tmp_path / "p2l.db")) as database:
        (named,) = database.execute("SELECT DISTINCT session FROM attempts").fetchall()
    assert len(named[0]) == 32
    assert b"job-1" not in (tmp_path / "p2l.db").read_bytes()


def test_the_end_of_a_job_is_cheap_before_it_is_refused(provider: FakeProvider) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
    for name in ("up-dear", "up-middle", "up-cheap"):
        provider.script(name, Behaviour(usage=usage))
    body = CAPPED | {"model": "p2l"}
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        answers = [post(live, body, budget="0.03") for _ in range(25)]
    models = [a.headers.get("x-p2l-model", "refused") for a in answers]
    assert models[0] == "dear"
    until = models.index("refused") if "refused" in models else len(models)
    assert models[until - 1] != "dear"
    assert models[:until] == sorted(models[:until], key=["dear", "middle", "cheap"].index)


def test_spend_is_told_by_session(
    provider: FakeProvider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    config = config_for(provider.base_url, f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}')
    (tmp_path / "config.yaml").write_text(config)
    with LiveGateway(config, ENVIRON) as live:
        for session in ("one", "one", "two", None):
            post(live, session=session, budget=None)
        with httpx.Client(base_url=live.url, trust_env=False) as http:
            shown = http.get("/admin/spend?by=session").json()
            first = http.get("/admin/spend?by=session&limit=1").json()
    assert main(["spend", "--by", "session", "--json", "--config", f"{tmp_path}/config.yaml"]) == 0
    told = json.loads(capsys.readouterr().out)["data"]
    assert sorted(row["attempts"] for row in told) == [1, 1, 2]
    assert [row["attempts"] for row in told if row["group"] == "(no session)"] == [1]
    both = [{row["group"]: row["attempts"] for row in rows} for rows in (told, shown["data"])]
    assert both[0] == both[1]
    assert shown["groups"] == first["groups"] == 3
    assert first["data"] == shown["data"][:1]
    assert shown["total_usd"] == pytest.approx(float(4 * COST))


def test_a_hard_budget_lowers_a_larger_cap_too(provider: FakeProvider) -> None:
    hard = {"x-cost-budget": "0.05", "x-cost-budget-mode": "hard"}
    with LiveGateway(config_for(provider.base_url), ENVIRON) as live:
        answer = post(live, HELLO | {"max_tokens": 128_000}, budget=None, **hard)
    cap = int(answer.headers["x-p2l-max-output-tokens"])
    assert 3_000 <= cap <= 0.05 / 15e-6
    assert provider.chats[0].body["max_tokens"] == cap


@pytest.mark.parametrize("path", ["messages", "responses"])
def test_the_other_surfaces_have_budgets_too(provider: FakeProvider, path: str) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE))
    bodies = {
        "messages": {"model": "dear", "max_tokens": 110, "messages": HELLO["messages"]},
        "responses": {"model": "dear", "max_output_tokens": 110, "input": "Hello there"},
    }
    headers = {"x-session-id": "job", "x-session-budget": "0.003"}
    config = config_for(provider.base_url)
    with LiveGateway(config, ENVIRON) as live, httpx.Client(trust_env=False, timeout=20) as http:
        url = f"{live.url}/v1/{path}"
        first, refused = (http.post(url, json=bodies[path], headers=headers) for _ in range(2))
    assert first.headers["x-p2l-session-left-usd"] == "0.0015"
    assert (refused.status_code, refused.headers["x-should-retry"]) == (429, "false")


# In several processes.


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}\n'
    server: PostgresServer = request.getfixturevalue("postgres")
    return f'storage: {{url: "{server.database()}", spool_dir: "{tmp_path}/spool"}}\n'


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize("shares_database", [True, False])
def test_gateways_that_share_a_redis_do_not_overspend(
    provider: FakeProvider, redis: RedisServer, tmp_path: Path, shares_database: bool
) -> None:
    provider.script("up-dear", Behaviour(usage=USAGE, first_delay_s=0.05))
    prefix = f"redis: {{url: '{redis.url}', prefix: t{uuid.uuid4().hex[:8]}}}\n"
    first, second = (
        config_for(provider.base_url, f'{prefix}storage: {{url: "sqlite:///{tmp_path}/{name}.db"}}')
        for name in ("one", "one" if shares_database else "other")
    )
    with (
        LiveGateway(first, ENVIRON) as one,
        LiveGateway(second, ENVIRON) as other,
        ThreadPoolExecutor(12) as pool,
    ):
        lives = [one, other] * 12
        answers = list(pool.map(lambda live: post(live, budget="0.016"), lives))
        last = post(other, CAPPED | {"max_tokens": 1}, budget="0.02")
    good = [a for a in answers if a.status_code == 200]
    assert len(good) == 10
    assert {code(a) for a in answers if a.status_code != 200} == {"budget_exhausted"}
    told = [Decimal(a.headers["x-p2l-session-cost-usd"]) for a in good]
    # each whole answer counts itself
    assert all(COST <= one <= 10 * COST for one in told)
    assert Decimal(last.headers["x-p2l-session-cost-usd"]) == 11 * COST


@pytest.mark.slow
@pytest.mark.parametrize("with_redis", [False, pytest.param(True, marks=pytest.mark.services)])
def test_what_a_killed_process_had_reserved_counts(
    provider: FakeProvider,
    tmp_path: Path,
    storage: str,
    with_redis: bool,
    request: pytest.FixtureRequest,
) -> None:
    provider.script(
        "up-dear",
        Behaviour(usage=USAGE),
        Behaviour(usage=USAGE, first_delay_s=0.9),
        Behaviour(usage=USAGE),
    )
    if with_redis:
        server: RedisServer = request.getfixturevalue("redis")
        storage += f"redis: {{url: '{server.url}', prefix: t{uuid.uuid4().hex[:8]}}}\n"
    config = config_for(provider.base_url, storage)
    gateway = ServeProcess(tmp_path, config, environ=ENVIRON)
    with gateway, ThreadPoolExecutor(1) as pool:
        assert post(gateway).status_code == 200
        lost = pool.submit(post, gateway)
        wait_until(lambda: len(provider.chats) == 2)
        gateway.signal(signal.SIGKILL)
        gateway.wait()
        assert isinstance(lost.exception(), httpx.TransportError)
    with ServeProcess(tmp_path, config, environ=ENVIRON) as again:
        # COST, and about 0.00175 reserved, of 0.0045
        refused = post(again, budget=None)
        assert refused.status_code == 429
        assert refused.headers["x-should-retry"] == "false"
        spent = Decimal(refused.headers["x-p2l-session-cost-usd"])
        assert Decimal("0.0031") < spent < Decimal("0.0036")


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
