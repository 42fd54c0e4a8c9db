"""What the commands say was spent, and the ledger against a provider's export."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for
from sqlalchemy import update

from p2l_model.errors import DataError
from server.cli import main
from server.offline.usage_export import read_export
from server.storage.database import Database
from server.storage.rows import micros
from server.storage.schema import attempts

USAGE = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
DEAR = (Decimal(100) * 5 + Decimal(100) * 15) / 10**6
DAY = "2026-03-01"


@pytest.fixture
def config(provider: FakeProvider, storage_url: str, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    keys = "auth: {keys: [{name: a, key_env: A}, {name: b, key_env: B}]}\n"
    path.write_text(config_for(provider.base_url, keys + f'storage: {{url: "{storage_url}"}}\n'))
    return path


@pytest.fixture
def spent(provider: FakeProvider, config: Path, storage_url: str) -> list[str]:
    """Three requests of a, one of b, all on DAY; one of a's was broken off without usage. Upstream
    ids."""
    behaviour = Behaviour(usage=USAGE)
    provider.script("up-dear", behaviour, behaviour, Behaviour(omit_usage=True), behaviour)
    environ = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "B": "key-b"}
    ids = []
    with (
        LiveGateway(config.read_text(), environ) as live,
        httpx.Client(base_url=live.url, trust_env=False, verify=False) as client,
    ):
        for key in ("key-a", "key-a", "key-a", "key-b"):
            body = {"model": "dear", "messages": [{"role": "user", "content": "Hi"}]}
            headers = {"authorization": f"Bearer {key}"}
            answer = client.post("/v1/chat/completions", json=body, headers=headers)
            ids.append(answer.json()["id"])
    all_on_one_day(storage_url)
    return ids


def all_on_one_day(url: str) -> None:
    """Otherwise they are on two where midnight comes between."""
    noon = micros(datetime.fromisoformat(f"{DAY}T12:00:00Z").timestamp())
    database = Database(url)
    with database.begin() as connection:
        connection.execute(update(attempts).values(started_at=noon, settled_at=noon))
    database.close()


def said(capsys: pytest.CaptureFixture[str], *args: str, status: int = 0) -> Any:
    assert main([*args, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def reconcile(
    capsys: pytest.CaptureFixture[str], config: Path, export: str, *flags: str, status: int = 0
) -> Any:
    path = config.parent / "export.csv"
    path.write_text(export)
    given = ["--config", str(config), "--usage", str(path), "--provider", "main", *flags]
    return said(capsys, "reconcile", *given, status=status)


@pytest.mark.slow
def test_spend_by_key_model_and_day(
    spent: list[str], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = said(capsys, "spend", "--config", str(config))
    by_key = {row["group"]: row for row in report["data"]}
    assert (by_key["a"]["attempts"], by_key["b"]["attempts"]) == (3, 1)
    assert Decimal(by_key["b"]["cost_usd"]) == DEAR
    assert by_key["b"]["estimated_usd"] == "0"
    assert 0 < Decimal(by_key["a"]["estimated_usd"]) < DEAR
    total = sum(Decimal(row["cost_usd"]) for row in report["data"])
    assert Decimal(report["total_usd"]) == total
    for by, group in (("model", "dear"), ("provider", "main"), ("day", DAY)):
        (row,) = said(capsys, "spend", "--config", str(config), "--by", by)["data"]
        assert (row["group"], Decimal(row["cost_usd"])) == (group, total)


@pytest.mark.slow
def test_spend_by_tag(
    provider: FakeProvider, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.script("up-dear", *[Behaviour(usage=USAGE)] * 4)
    boss = "{name: b, key_env: B}, {name: boss, key_env: BOSS, admin: true}"
    config.write_text(config.read_text().replace("{name: b, key_env: B}", boss))
    environ = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "B": "key-b", "BOSS": "key-boss"}
    with (
        LiveGateway(config.read_text(), environ) as live,
        httpx.Client(base_url=live.url, trust_env=False, verify=False) as client,
    ):
        client.headers["authorization"] = "Bearer key-a"
        for tags in (["team", "batch"], ["team"], None, ['a "quoted" wörd']):
            body = {"model": "dear", "messages": [{"role": "user", "content": "Hi"}]}
            answer = client.post("/v1/chat/completions", json=body | {"p2l": {"tags": tags}})
            assert answer.status_code == 200
        client.headers["authorization"] = "Bearer key-boss"
        admin = client.get("/admin/spend?by=tag").raise_for_status().json()
        latest = client.get("/admin/requests").raise_for_status().json()["data"]
    assert {row["group"]: row["attempts"] for row in admin["data"]}["team"] == 2
    assert admin["total_usd"] == pytest.approx(float(4 * DEAR))
    assert "once in the total" in admin["note"]
    assert sorted(len(row["tags"]) for row in latest) == [0, 1, 1, 2]
    assert all("team" not in str(sent.body) for sent in provider.requests)
    report = said(capsys, "spend", "--config", str(config), "--by", "tag")
    found = {row["group"]: (row["attempts"], row["cost_usd"]) for row in report["data"]}
    one = f"{DEAR.normalize():f}"
    assert found == {
        "team": (2, f"{2 * DEAR.normalize():f}"),
        "batch": (1, one),
        "(no tag)": (1, one),
        'a "quoted" wörd': (1, one),
    }
    assert Decimal(report["total_usd"]) == 4 * DEAR
    assert "once in the total" in report["note"]
    assert main(["spend", "--config", str(config), "--by", "tag"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("once in the total")
    assert lines[-2].split() == ["total", f"{4 * DEAR:.6f}"]


@pytest.mark.slow
def test_a_days_sum_is_compared_corrected_and_then_agrees(
    spent: list[str], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = f"start_time,model,num_model_requests,cost_usd\n{DAY}T00:00:00Z,up-dear,4,0.5\n"
    report = reconcile(capsys, config, told, status=1)
    (row,) = report["data"]
    assert (row["ledger_requests"], row["provider_requests"]) == (4, 4)
    assert not report["agree"]
    reconcile(capsys, config, told, "--apply")
    assert reconcile(capsys, config, told)["agree"]
    reconcile(capsys, config, told, "--apply")
    assert said(capsys, "spend", "--config", str(config))["total_usd"] == "0.5"


@pytest.mark.slow
def test_single_answers_are_corrected_by_the_providers_id(
    spent: list[str], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = list(dict.fromkeys(spent))
    rows = "".join(f"{name},{DAY},up-dear,100,100\n" for name in ids)
    told = "id,date,model,input_tokens,output_tokens\n" + rows
    reconcile(capsys, config, told, "--apply")
    report = said(capsys, "spend", "--config", str(config))
    assert {row["estimated_usd"] for row in report["data"]} == {"0"}
    assert Decimal(report["total_usd"]) == DEAR * 4
    assert reconcile(capsys, config, told)["agree"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("model,cost_usd\nx,1\n", "1: no day"),
        ("date,cost_usd\n2026-01-01,1\n", "1: no model"),
        ("date,model\n2026-01-01,x\n", "neither a cost nor tokens"),
        ("date,model,cost_usd\nyesterday,x,1\n", "'yesterday' is not a day"),
        ("date,model,cost_usd\n2026-01-01,x,much\n", "'much' is not an amount"),
    ],
)
def test_a_bad_export_names_its_row(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=fault):
        read_export(path)


@pytest.mark.slow
def test_a_table_for_a_spreadsheet_has_the_same_numbers(
    capsys: pytest.CaptureFixture[str], config: Path, spent: list[str]
) -> None:
    data = said(capsys, "spend", "--config", str(config), "--by", "model")["data"]
    assert main(["spend", "--config", str(config), "--by", "model", "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert rows == [{name: str(value) for name, value in row.items()} for row in data]
