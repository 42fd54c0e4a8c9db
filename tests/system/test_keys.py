"""Keys created by command and by admins: hashed, scoped, expiring, revoked at once."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

from server.cli import main

CHAT = {"model": "p2l", "messages": [{"role": "user", "content": "Hi"}]}
ADMIN = "auth: {keys: [{name: boss, key_env: BOSS, admin: true}, {name: team, key_env: TEAM}]}\n"
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "BOSS": "boss-key", "TEAM": "team-key"}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def config(provider: FakeProvider, tmp_path: Path) -> str:
    return config_for(provider.base_url, f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}\n')


@pytest.fixture
def client(config: str) -> Iterator[httpx.Client]:
    with (
        LiveGateway(config + ADMIN, ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, verify=False, timeout=20) as http,
    ):
        yield http


def create(client: httpx.Client, **terms: Any) -> httpx.Response:
    return client.post("/admin/keys", json=terms, headers=bearer("boss-key"))


def ask(client: httpx.Client, key: str) -> httpx.Response:
    return client.post("/v1/chat/completions", json=CHAT, headers=bearer(key))


def test_an_admin_creates_a_scoped_key_and_revokes_it(client: httpx.Client, tmp_path: Path) -> None:
    made = create(client, name="app", models=["cheap"], requests_per_minute=2).json()
    key = made["key"]
    assert key.startswith("sk-p2l-")
    assert ask(client, key).headers["x-p2l-model"] == "cheap"
    assert ask(client, key).status_code == 200
    limited = ask(client, key)
    assert (limited.status_code, limited.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(limited.headers["retry-after"]) <= 30
    listed = client.get("/admin/keys", headers=bearer("boss-key")).json()["data"]
    assert [row["name"] for row in listed] == ["app"]
    assert key not in json.dumps(listed)
    assert key.encode() not in (tmp_path / "p2l.db").read_bytes()
    assert client.delete("/admin/keys/app", headers=bearer("boss-key")).status_code == 200
    assert ask(client, key).status_code == 401
    assert client.delete("/admin/keys/app", headers=bearer("boss-key")).status_code == 404
    assert create(client, name="app").status_code == 409


def test_only_admins_administer(client: httpx.Client) -> None:
    assert client.get("/admin/keys").status_code == 401
    assert client.get("/admin/keys", headers=bearer("team-key")).status_code == 403
    body = {"name": "x"}
    assert client.post("/admin/keys", json=body, headers=bearer("team-key")).status_code == 403
    assert client.delete("/admin/keys/x", headers=bearer("team-key")).status_code == 403


def test_without_an_admin_key_administration_is_off(config: str) -> None:
    with LiveGateway(config, ENVIRON) as live:
        response = httpx.get(f"{live.url}/admin/keys", trust_env=False)
        assert response.status_code == 404


@pytest.mark.parametrize(
    ("terms", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a", "models": ["nobody"]}, "models"),
        ({"name": "a", "budget_usd": "nan"}, "budget_usd"),
        ({"name": "a", "budget_usd": -1}, "budget_usd"),
        ({"name": "a", "window_s": 60}, None),
        ({"name": "a", "requests_per_minute": 0}, "requests_per_minute"),
        ({"name": "a", "expires_at": "2001-01-01T00:00:00Z"}, None),
        ({"name": "a", "colour": "red"}, "colour"),
    ],
)
def test_bad_terms_are_named(
    client: httpx.Client, terms: dict[str, Any], param: str | None
) -> None:
    response = create(client, **terms)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_a_key_expires(client: httpx.Client) -> None:
    at = int(time.time()) + 3
    terms = {"name": "short", "expires_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))}
    key = create(client, **terms).json()["key"]
    before = ask(client, key).status_code
    assert before == 200 or time.time() > at, "unless the machine was too busy to ask in time"
    wait_for(client, key, 401)
    assert time.time() > at


def test_a_keys_budget_holds(client: httpx.Client) -> None:
    key = create(client, name="poor", budget_usd="0.000001").json()["key"]
    refused = ask(client, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exhausted")


@pytest.mark.slow
def test_the_command_creates_lists_and_revokes_and_the_gateway_notices(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config)
    with (
        LiveGateway(config, ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, verify=False, timeout=20) as client,
    ):
        assert client.get("/v1/models").status_code == 200
        flags = ["--config", str(path), "--json"]
        assert main(["keys", "create", "ci", "--budget-usd", "5", "--window-s", "60", *flags]) == 0
        made = json.loads(capsys.readouterr().out)
        assert (made["budget_usd"], made["window_s"]) == ("5", 60)
        wait_for(client, None, 401)
        wait_for(client, made["key"], 200)
        assert main(["keys", "list", *flags]) == 0
        assert [row["name"] for row in json.loads(capsys.readouterr().out)["data"]] == ["ci"]
        assert main(["keys", "revoke", "ci", *flags]) == 0
        wait_for(client, made["key"], 401)
        # the last key is gone: it must not be open to all again
        wait_for(client, None, 401)
    assert main(["keys", "revoke", "nobody", *flags]) == 2
    assert main(["keys", "create", "x", "--models", "nobody", *flags]) == 2
    with closing(sqlite3.connect(tmp_path / "p2l.db")) as rows:
        stored = rows.execute("SELECT * FROM api_keys").fetchall()
    assert made["key"] not in str(stored)


def test_an_admin_changes_a_keys_terms(client: httpx.Client) -> None:
    key = create(client, name="app", models=["cheap"], budget_usd=1, window_s=60).json()["key"]
    (made,) = client.get("/admin/keys", headers=bearer("boss-key")).json()["data"]

    def change(named: str = "app", /, **terms: Any) -> httpx.Response:
        return client.patch(f"/admin/keys/{named}", json=terms, headers=bearer("boss-key"))

    changed = change(session_budget_usd="0.25", max_request_usd=0.1, models=["dear"])
    assert changed.status_code == 200
    wanted = {"session_budget_usd": "0.25", "max_request_usd": "0.1", "models": ["dear"]}
    assert changed.json() == made | wanted
    assert ask(client, key).headers["x-p2l-model"] == "dear"
    told = client.get("/v1/key", headers=bearer(key)).json()
    assert (told["session_budget_usd"], told["max_request_usd"]) == (0.25, 0.1)
    assert change(session_budget_usd=None).json()["session_budget_usd"] is None
    assert change().json()["max_request_usd"] == "0.1"
    for terms, param in (
        ({"name": "other"}, "name"),
        ({"session_budget_usd": -1}, "session_budget_usd"),
        ({"models": ["nobody"]}, "models"),
        ({"admin": None}, "admin"),
        ({"budget_usd": None}, None),  # its window would stay
        ({"colour": "red"}, "colour"),
    ):
        refused = change(**terms)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert change("nobody", admin=True).status_code == 404
    assert client.patch("/admin/keys/app", json={}, headers=bearer("team-key")).status_code == 403
    client.delete("/admin/keys/app", headers=bearer("boss-key"))
    assert change(admin=True).status_code == 404


@pytest.mark.slow
def test_the_command_changes_terms_and_what_it_does_not_name_stays(
    config: str, tmp_path: Path, storage_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config.replace(f"sqlite:///{tmp_path}/p2l.db", storage_url))
    flags = ["--config", str(path), "--json"]
    terms = ["--session-budget-usd", "2.5", "--requests-per-minute", "5", "--expires-in-days", "3"]
    assert main(["keys", "create", "ci", *terms, *flags]) == 0
    assert json.loads(capsys.readouterr().out)["session_budget_usd"] == "2.5"
    assert main(["keys", "list", *flags]) == 0
    (made,) = json.loads(capsys.readouterr().out)["data"]
    more = ["--session-budget-usd", "1e-8", "--requests-per-minute", "none", "--models", "cheap"]
    assert main(["keys", "change", "ci", *more, *flags]) == 0
    changed = json.loads(capsys.readouterr().out)
    new = {"session_budget_usd": "0.00000001", "requests_per_minute": None, "models": ["cheap"]}
    assert changed == made | new
    assert main(["keys", "change", "ci", "--expires-at", "none", *flags]) == 0
    assert json.loads(capsys.readouterr().out) == changed | {"expires_at": None}
    for wrong in (
        ["nobody", "--models", "cheap"],
        ["ci", "--models", "nobody"],
        ["ci", "--max-request-usd", "nan"],
        ["ci", "--window-s", "many"],
    ):
        assert main(["keys", "change", *wrong, *flags]) == 2


def wait_for(client: httpx.Client, key: str | None, status: int) -> None:
    headers = {} if key is None else bearer(key)
    deadline = time.monotonic() + 30
    while client.get("/v1/models", headers=headers).status_code != status:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_stored_key_leaves_room_for_others(config: str, provider: FakeProvider) -> None:
    """Two places, of which one key may hold half where there are several: stored ones count."""
    provider.script("up-dear", Behaviour(first_delay_s=0.6))
    boss = ADMIN.replace(", {name: team, key_env: TEAM}", "")
    limits = "limits: {max_concurrency: 2, max_waiting: 0, share_per_key: 0.5}\n"
    with (
        LiveGateway(config + boss + limits, ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as client,
        ThreadPoolExecutor(2) as pool,
    ):

        def statuses(key: str) -> list[int]:
            asked = pool.map(lambda _: ask(client, key).status_code, range(2))
            return sorted(asked)

        assert statuses("boss-key") == [200, 200], "there is nobody else to leave room for"
        key = create(client, name="app").json()["key"]
        assert statuses(key) == [200, 503]
        assert client.delete("/admin/keys/app", headers=bearer("boss-key")).status_code == 200
        assert statuses("boss-key") == [200, 200]
