"""GET /v1/decisions: the receipt of a request, whole, replayable, and for its own key only."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

from router.receipt import replay

CANARY = "the canary sings at dawn"
CHAT = {"model": "p2l", "messages": [{"role": "user", "content": CANARY}]}
KEYS = """
auth: {keys: [{name: a, key_env: A}, {name: b, key_env: B}, {name: boss, key_env: C, admin: true}]}
routing: {retries: 0}
"""
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "B": "key-b", "C": "key-c"}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "p2l.db"


@pytest.fixture
def client(provider: FakeProvider, database: Path) -> Iterator[httpx.Client]:
    storage = f'storage: {{url: "sqlite:///{database}"}}'
    with (
        LiveGateway(config_for(provider.base_url, KEYS + storage), ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, verify=False, timeout=20) as http,
    ):
        yield http


def chat(client: httpx.Client, **changes: object) -> httpx.Response:
    return client.post("/v1/chat/completions", json=CHAT | changes, headers=bearer("key-a"))


def test_the_receipt_replays_and_holds_no_prompt(
    client: httpx.Client, provider: FakeProvider, database: Path
) -> None:
    provider.script("up-dear", Behaviour(status=500))
    answer = chat(client, p2l={"budget_usd": 0.01, "seed": 7})
    name = answer.headers["x-request-id"]
    receipt = client.get(f"/v1/decisions/{name}", headers=bearer("key-a")).json()
    assert receipt["request_id"] == name
    assert [a["decision"]["model"] for a in receipt["attempts"]] == ["dear", "middle"]
    assert receipt["attempts"][0]["failure"] == "UpstreamUnavailableError"
    assert {card["name"] for card in receipt["catalogue"]} == {"dear", "middle", "cheap"}
    assert replay(receipt).differences == []
    assert CANARY not in json.dumps(receipt)
    with closing(sqlite3.connect(database)) as rows:
        assert rows.execute("SELECT count(*) FROM prompts").fetchone() == (0,)
    assert CANARY.encode() not in database.read_bytes()


def test_streams_refusals_and_dry_decisions_have_one_too(
    client: httpx.Client, provider: FakeProvider
) -> None:
    names = [chat(client, stream=True).headers["x-request-id"]]
    dry = client.post("/v1/route", json=CHAT, headers=bearer("key-a"))
    names.append(dry.json()["request_id"])
    provider.script("*", Behaviour(status=500))
    failed = chat(client)
    assert failed.status_code == 502
    names.append(failed.headers["x-request-id"])
    for name in names:
        assert client.get(f"/v1/decisions/{name}", headers=bearer("key-a")).status_code == 200


@pytest.mark.parametrize(("key", "status"), [("key-a", 200), ("key-b", 404), ("key-c", 200)])
def test_only_the_key_that_asked_and_the_admin_may_read_it(
    client: httpx.Client, key: str, status: int
) -> None:
    name = chat(client).headers["x-request-id"]
    response = client.get(f"/v1/decisions/{name}", headers=bearer(key))
    assert response.status_code == status
    if status == 404:
        assert response.json()["error"]["code"] == "decision_not_found"


def test_unknown_ones_and_models_asked_for_by_name_have_none(client: httpx.Client) -> None:
    assert client.get("/v1/decisions/req_0", headers=bearer("key-c")).status_code == 404
    assert client.get("/v1/decisions/req_0").status_code == 401
    name = chat(client, model="cheap").headers["x-request-id"]
    assert client.get(f"/v1/decisions/{name}", headers=bearer("key-a")).status_code == 404
