"""`check --connect`: what can be reached from here, and why the rest cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_provider import FakeProvider
from live_gateway import config_for
from services import RedisServer, free_port

from server.cli import main

REFUSED = "nothing listens there (connection refused)"


def checked(capsys: pytest.CaptureFixture[str], path: Path, status: int) -> Any:
    assert main(["check", "--config", str(path), "--connect", "--json"]) == status
    return json.loads(capsys.readouterr().out)["connections"]


@pytest.mark.services
def test_all_is_well(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    provider: FakeProvider,
    redis: RedisServer,
    storage_url: str,
) -> None:
    monkeypatch.setenv("MAIN_KEY", "sk-provider-canary")
    extra = f'storage: {{url: "{storage_url}"}}\nredis: {{url: "{redis.url}"}}'
    path = tmp_path / "config.yaml"
    path.write_text(config_for(provider.base_url, extra))
    found = checked(capsys, path, 0)
    assert found == {"storage": "ok", "redis": "ok", "provider main": "ok"}
    assert provider.requests == [], "no key was sent"


def test_what_cannot_be_reached_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAIN_KEY", "sk-provider-canary")
    monkeypatch.setenv("PW", "s3cret")
    ports = [free_port() for _ in range(3)]
    extra = (
        f'storage: {{url: "postgresql://p2l@127.0.0.1:{ports[0]}/p2l", password_env: PW}}\n'
        f'redis: {{url: "redis://127.0.0.1:{ports[1]}/0"}}'
    )
    path = tmp_path / "config.yaml"
    path.write_text(config_for(f"http://127.0.0.1:{ports[2]}/v1", extra))
    found = checked(capsys, path, 1)
    assert str(ports[0]) in found["storage"]
    assert "redis" in found["redis"]
    assert found["provider main"] == f"127.0.0.1:{ports[2]} cannot be reached: {REFUSED}"
    assert "s3cret" not in str(found)
