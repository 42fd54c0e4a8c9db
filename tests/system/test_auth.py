"""Keys: who may call, and what a key may not see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import httpx
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for

KEYS = f"""
auth:
  keys:
    - {{name: team, key_env: TEAM_KEY}}
    - {{name: narrow, key_sha256: {hashlib.sha256(b"narrow-key").hexdigest()}, models: [cheap]}}
"""


@pytest.fixture
def client(provider: FakeProvider) -> Iterator[httpx.Client]:
    environ = {"MAIN_KEY": "sk-provider-canary", "TEAM_KEY": "team-key"}
    with (
        LiveGateway(config_for(provider.base_url, KEYS), environ) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        yield http


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"),
        {"authorization": "Basic dGVhbQ=="},
        bearer("' OR '1'='1"),
        bearer("x'; DROP TABLE api_keys; --"),
        bearer("team-key\\' OR 1=1 --"),
    ],
)
def test_without_a_known_key_nothing_is_served(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    response = client.get("/v1/models", headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert client.get("/v1/models", headers=bearer("team-key")).status_code == 200


def test_health_never_needs_a_key(client: httpx.Client) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_a_key_sees_its_models_only(client: httpx.Client) -> None:
    names = [m["id"] for m in client.get("/v1/models", headers=bearer("narrow-key")).json()["data"]]
    assert names == ["p2l", "cheap"]
    body = {"model": "p2l", "messages": [{"role": "user", "content": "Hi"}]}
    response = client.post("/v1/chat/completions", json=body, headers=bearer("narrow-key"))
    assert response.headers["x-p2l-model"] == "cheap"
    direct = client.post(
        "/v1/chat/completions", json=body | {"model": "dear"}, headers=bearer("narrow-key")
    )
    assert direct.status_code == 404
    everything = client.post("/v1/chat/completions", json=body, headers=bearer("team-key"))
    assert everything.headers["x-p2l-model"] == "dear"


def test_the_callers_key_never_reaches_the_provider(
    client: httpx.Client, provider: FakeProvider
) -> None:
    body = {"model": "p2l", "messages": [{"role": "user", "content": "Hi"}]}
    client.post("/v1/chat/completions", json=body, headers=bearer("team-key"))
    assert "team-key" not in str(provider.chats[0].headers)
