"""A running gateway's knowledge of stored keys: every change is seen, whatever else goes wrong."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for
from sqlalchemy import insert, update

from server.auth.authenticator import Caller, KeyLimits
from server.cli import main
from server.serving import reload
from server.serving.reload import Reloader
from server.storage.database import Database
from server.storage.keys import create_key, keys_version, read_key_ring
from server.storage.migrate import migrate
from server.storage.schema import api_keys
from server.tasks import refresh_keys as stored_keys
from server.tasks.refresh_keys import refresh

ENVIRON = {"MAIN_KEY": "sk-provider-canary", "BOSS": "boss-key"}
ADMIN = "auth: {keys: [{name: boss, key_env: BOSS, admin: true}]}\n"


@pytest.fixture
def config(provider: FakeProvider, tmp_path: Path) -> str:
    storage = f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}\n'
    return config_for(provider.base_url, ADMIN + storage)


@pytest.fixture
def live(config: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveGateway]:
    monkeypatch.setattr(stored_keys, "_POLL_S", 0.05)
    with LiveGateway(config, ENVIRON) as gateway:
        yield gateway


def status(live: LiveGateway, key: str) -> int:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(f"{live.url}/v1/models", headers=headers, trust_env=False).status_code


def wait_for(live: LiveGateway, key: str, expected: int) -> None:
    deadline = time.monotonic() + 30
    while status(live, key) != expected:
        assert time.monotonic() < deadline, f"never {expected}"
        time.sleep(0.02)


def created(live: LiveGateway, *names: str) -> list[str]:
    database = live.state.store.database
    return [create_key(database, Caller(name))[0].reveal() for name in names]


def change(tmp_path: Path, statement: str, *values: Any) -> None:
    """By another program, say a gateway of an earlier release."""
    with sqlite3.connect(tmp_path / "p2l.db") as connection:
        connection.execute(statement, values)
    connection.close()


# What a row may hold that no release has written.
DAMAGES = {
    "sha256": "no digest",
    "models": '["cheap"',
    "admin": 7,
    "budget_usd": "a lot",
    "window_s": "an hour",
    "created_at": "yesterday",
    "expires_at": "tomorrow",
    "name": b"\xff\xfe",
}


@pytest.mark.parametrize("column", DAMAGES)
def test_a_damaged_row_is_no_key_and_hides_no_revocation(
    live: LiveGateway, tmp_path: Path, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, revoked, good = created(live, "damaged", "revoked", "good")
    for key in (damaged, revoked, good):
        wait_for(live, key, 200)
    text = f"UPDATE api_keys SET {column} = CAST(? AS TEXT) WHERE name = 'damaged'"
    value = DAMAGES[column]
    change(
        tmp_path, text if isinstance(value, bytes) else text.replace("CAST(? AS TEXT)", "?"), value
    )
    wait_for(live, damaged, 401)
    change(tmp_path, "UPDATE api_keys SET revoked_at = 1 WHERE name = 'revoked'")
    wait_for(live, revoked, 401)
    assert status(live, good) == 200
    assert "cannot be read" in caplog.text
    assert damaged not in caplog.text
    listed = httpx.get(
        f"{live.url}/admin/keys", headers={"authorization": "Bearer boss-key"}, trust_env=False
    ).json()
    assert len(listed["unreadable"]) == 1
    assert {row["name"] for row in listed["data"]} == {"revoked", "good"}


@pytest.mark.slow
def test_a_gateway_whose_only_key_is_damaged_stays_closed(
    provider: FakeProvider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        config_for(provider.base_url, f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}')
    )
    with LiveGateway(path.read_text(), ENVIRON) as live:
        (key,) = created(live, "only")
        wait_for(live, key, 200)
        change(tmp_path, "UPDATE api_keys SET models = '{'")
        wait_for(live, key, 401)
        assert status(live, "nobody") == 401
    assert main(["keys", "list", "--config", str(path)]) == 0
    assert "unreadable" in capsys.readouterr().out
    # it may listen on every interface: there is a key, if not a good one
    database = Database(f"sqlite:///{tmp_path}/p2l.db")
    assert not read_key_ring(database).is_empty
    database.close()


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyError("sha256"), OSError(5, "EIO")])
def test_a_poll_that_fails_is_not_the_last(
    live: LiveGateway, monkeypatch: pytest.MonkeyPatch, error: Exception, tmp_path: Path
) -> None:
    (key,) = created(live, "one")
    wait_for(live, key, 200)
    with monkeypatch.context() as patch:

        def fail(_: Database) -> str:
            raise error

        patch.setattr(stored_keys, "keys_version", fail)
        deadline = time.monotonic() + 30
        while failures(live, "keys") == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    change(tmp_path, "UPDATE api_keys SET revoked_at = 1")
    wait_for(live, key, 401)


def failures(live: LiveGateway, name: str) -> int:
    return next(job.failures for job in live.state.jobs if job.name == name)


@pytest.mark.slow
def test_the_gateway_is_not_ready_while_a_revocation_could_be_missed(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_keys, "_POLL_S", 0.05)
    monkeypatch.setattr(stored_keys, "_STALE_S", 0.5)
    with LiveGateway(config, ENVIRON) as live:
        assert ready(live).status_code == 200
        change(tmp_path, "ALTER TABLE api_keys RENAME TO gone")
        deadline = time.monotonic() + 30
        while (answer := ready(live)).status_code != 503:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert "keys (last done" in answer.json()["error"]["message"]
        metrics = httpx.get(
            f"{live.url}/metrics", headers={"authorization": "Bearer boss-key"}, trust_env=False
        ).text
        assert 'p2l_gateway_background_stale{task="keys"} 1.0' in metrics
        assert 'p2l_gateway_background_failures_total{task="keys"} 0.0' not in metrics
        change(tmp_path, "ALTER TABLE gone RENAME TO api_keys")
        while ready(live).status_code != 200:
            assert time.monotonic() < deadline + 10
            time.sleep(0.02)


def ready(live: LiveGateway) -> httpx.Response:
    return httpx.get(f"{live.url}/readyz", trust_env=False)


# Another value for each column, and one that is less: clocks differ.
CHANGES: dict[str, Any] = {
    "name": "else",
    "sha256": "f" * 64,
    "models": '["cheap"]',
    "admin": True,
    "budget_usd": "1",
    "window_s": 60,
    "requests_per_minute": 1,
    "tokens_per_minute": 1,
    "created_at": 1,
    "expires_at": 1,
    "revoked_at": 1,
    "max_request_usd": "1",
    "session_budget_usd": "1",
    "shadow": False,
}


def test_every_change_of_every_column_is_another_version(storage_url: str) -> None:
    database = Database(storage_url)
    migrate(database)
    seen = {keys_version(database)}

    def changed(statement: Any) -> None:
        with database.begin() as connection:
            connection.execute(statement)
        seen.add(keys_version(database))

    for name in ("a", "b"):
        create_key(database, Caller(name, limits=KeyLimits(window_s=5)))
        seen.add(keys_version(database))
    # revoked now, by the clock of this gateway; the next is revoked by one that is an hour behind
    changed(update(api_keys).where(api_keys.c.name == "b").values(revoked_at=2_000_000))
    for column, value in CHANGES.items():
        changed(update(api_keys).where(api_keys.c.name != "b").values({column: value}))
    assert set(CHANGES) == {column.name for column in api_keys.columns}
    changed(update(api_keys).where(api_keys.c.name == "b").values(revoked_at=None))
    changed(api_keys.delete().where(api_keys.c.name == "b"))
    row = {"name": "c", "sha256": "0" * 64, "admin": False, "created_at": 1}
    changed(insert(api_keys).values(row))
    assert len(seen) == 3 + 1 + len(CHANGES) + 3
    assert keys_version(database) in seen
    database.close()


async def test_a_key_that_is_revoked_during_a_reload_is_not_good_after_it(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_keys, "_POLL_S", 3600.0)
    path = tmp_path / "config.yaml"
    path.write_text(config)
    with LiveGateway(config, ENVIRON) as live:
        (key,) = created(live, "one")
        await refresh(live.state)
        assert status(live, key) == 200

        def revoke_meanwhile(*_: Any) -> None:
            change(tmp_path, "UPDATE api_keys SET revoked_at = 1")
            import asyncio

            asyncio.run(refresh(live.state))

        monkeypatch.setattr(reload, "check_objectives", revoke_meanwhile)
        await Reloader(live.state, str(path), ENVIRON)()
        assert status(live, key) == 401
