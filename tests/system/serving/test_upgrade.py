"""From an earlier version to this one, on the same ledger: both gateways at once, then the new one
alone. Nothing that was spent, created or said is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from live_gateway import config_for
from serve_process import ServeProcess
from services import PostgresServer, RedisServer

from server.cli import main

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
# The last commit of version 0.1, before sessions, facts and learning.
FORMER = "aa63dd64f3e574e2949835e2ee8afca5d3e1e2b3"
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "BOSS": "boss-key", "TEAM": "team-key"}
CHAT: dict[str, Any] = {"model": "p2l", "messages": [{"role": "user", "content": "Which?"}]}
MORE = """
auth: {{keys: [{{name: boss, key_env: BOSS, admin: true}}, {{name: team, key_env: TEAM}}]}}
routing: {{window_budgets: [{{amount_usd: 5, window_s: 86400, per: key}}]}}
storage: {{url: "{url}"}}
"""


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What makes a process run the former version."""
    folder = tmp_path_factory.mktemp("former")
    known = subprocess.run(
        ["git", "-C", str(ROOT), "archive", FORMER, "server", "router", "p2l_model"],
        capture_output=True,
        check=False,
    )
    if known.returncode != 0:
        pytest.skip("this checkout does not have the former version")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=known.stdout, check=True)
    return f"import sys\nsys.path.insert(0, {str(folder)!r})"


@pytest.fixture
def config(provider: FakeProvider, storage_url: str) -> str:
    return config_for(provider.base_url, MORE.format(url=storage_url))


@pytest.fixture
def old(tmp_path: Path, config: str, former: str) -> Iterator[ServeProcess]:
    with ServeProcess(made(tmp_path, "old"), config, environ=ENVIRON, first=former) as process:
        yield process


def made(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def http(gateway: ServeProcess, key: str = "team-key") -> httpx.Client:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=20)


class Asked:
    """Requests of the team and what they cost by their own headers."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.cost = Decimal(0)

    def ask(self, gateway: ServeProcess, key: str = "team-key", times: int = 1) -> None:
        with http(gateway, key) as client:
            for _ in range(times):
                answer = client.post(
                    "/v1/chat/completions", json=CHAT, headers={"x-cost-budget": "0.01"}
                )
                assert answer.status_code == 200, answer.text
                self.ids.append(answer.headers["x-request-id"])
                self.cost += Decimal(answer.headers["x-p2l-cost-usd"])


def spent(gateway: ServeProcess, by: str) -> dict[str, Decimal]:
    with http(gateway, "boss-key") as client:
        rows = client.get("/admin/spend", params={"by": by}).json()["data"]
    return {row["group"]: Decimal(str(row["cost_usd"])) for row in rows}


def test_two_versions_on_one_ledger_and_then_the_new_one(
    old: ServeProcess, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    team, app = Asked(), Asked()
    with http(old, "boss-key") as boss:
        assert "shadow" not in boss.get("/admin/keys").text, "this is the former version"
        terms = {"name": "app", "budget_usd": 1, "models": ["cheap"]}
        key = boss.post("/admin/keys", json=terms).json()["key"]
    team.ask(old, times=5)
    app.ask(old, key, times=3)
    with http(old) as client:
        rated = {"request_id": team.ids[0], "rating": 0.75}
        assert client.post("/v1/feedback", json=rated).status_code == 200
    with ServeProcess(made(tmp_path, "new"), config, environ=ENVIRON) as new:
        # Both serve: a rolling update.
        for gateway in (old, new, old, new):
            team.ask(gateway, times=2)
            app.ask(gateway, key)
        with http(new, "boss-key") as boss:
            late = boss.post("/admin/keys", json={"name": "late"}).json()["key"]
        late_ones = Asked()
        late_ones.ask(new, late)
        assert spent(old, "key")["team"] == team.cost
        old.__exit__(None, None, None)
        team.ask(new)
        by_key = spent(new, "key")
        assert by_key == {"team": team.cost, "app": app.cost, "late": late_ones.cost}
        with http(new) as client:
            for name in team.ids:
                decision = client.get(f"/v1/decisions/{name}")
                assert decision.status_code == 200, decision.text
            again = client.post("/v1/feedback", json=rated)
            assert again.json()["error"]["code"] == "feedback_exists"
        with http(new, key) as client:
            assert client.get("/v1/key").json()["models"] == ["cheap"]
    # Without Redis, a gateway reads the others' spend in a window when it starts.
    with ServeProcess(made(tmp_path, "next"), config, environ=ENVIRON) as new, http(new) as client:
        (window,) = client.get("/v1/key").json()["windows"]
        assert Decimal(str(window["spent_usd"])) == team.cost
    path = tmp_path / "new" / "config.yaml"
    assert main(["feedback", "export", "--out", str(tmp_path / "v"), "--config", str(path)]) == 0
    assert main(["spend", "--by", "key", "--json", "--config", str(path)]) == 0
    assert str(team.cost.normalize()) in capsys.readouterr().out


def test_the_former_version_refuses_a_newer_ledger(
    config: str, tmp_path: Path, former: str
) -> None:
    with ServeProcess(made(tmp_path, "new"), config, environ=ENVIRON):
        pass
    late = ServeProcess(made(tmp_path, "late"), config, environ=ENVIRON, first=former)
    with pytest.raises(TimeoutError, match="newer"), late:
        pass


@pytest.mark.services
def test_two_versions_share_the_windows_in_redis(
    provider: FakeProvider,
    tmp_path: Path,
    former: str,
    postgres: PostgresServer,
    redis: RedisServer,
) -> None:
    more = (
        MORE.format(url=postgres.database()) + f"redis: {{url: '{redis.url}', prefix: upgrade}}\n"
    )
    config = config_for(provider.base_url, more)
    team = Asked()
    with (
        ServeProcess(made(tmp_path, "old"), config, environ=ENVIRON, first=former) as old,
        ServeProcess(made(tmp_path, "new"), config, environ=ENVIRON) as new,
    ):
        for gateway in (old, new, old, new):
            team.ask(gateway, times=3)
        for gateway in (old, new):
            with http(gateway, "boss-key") as boss:
                assert boss.get("/metrics").status_code == 200
        with http(new) as client:
            (window,) = client.get("/v1/key").json()["windows"]
        assert Decimal(str(window["spent_usd"])) == team.cost
