"""What a key says of answers moves its own routing, by a layer of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for

from router.receipt import replay
from server.cli import main

CONFIG = """
auth: {keys: [{name: a, key_env: A}, {name: b, key_env: B}, {name: boss, key_env: C, admin: true}]}
learning: {every_s: 0.2, min_answers: 10, min_own_answers: 6OWN}
limits: {feedback_per_minute: 100}
"""
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "B": "key-b", "C": "key-c"}
CHAT = {"model": "p2l", "messages": [{"role": "user", "content": "Which is better?"}]}


def gateway(storage_url: str, own: str = "") -> Iterator[httpx.Client]:
    config = CONFIG.replace("OWN", own) + f'storage: {{url: "{storage_url}"}}\n'
    with (
        FakeProvider(api_key="sk-provider-canary") as provider,
        LiveGateway(config_for(provider.base_url, config), ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        yield http


@pytest.fixture
def client(storage_url: str) -> Iterator[httpx.Client]:
    yield from gateway(storage_url)


@pytest.fixture
def on_file(tmp_path: Path) -> Iterator[httpx.Client]:
    """Where one kind of storage is as good as another."""
    yield from gateway(f"sqlite:///{tmp_path}/p2l-router.db")


@pytest.fixture
def only_b(tmp_path: Path) -> Iterator[httpx.Client]:
    yield from gateway(f"sqlite:///{tmp_path}/p2l-router.db", ", own_layers_of: [b]")


def ask(client: httpx.Client, path: str, key: str, body: dict[str, Any] | None = None) -> Any:
    answer = client.request(
        "GET" if body is None else "POST",
        path,
        json=body,
        headers={"authorization": f"Bearer {key}"},
    )
    assert answer.status_code == 200, answer.text
    return answer


def coefficients(client: httpx.Client, key: str) -> dict[str, float]:
    body = CHAT | {"p2l": {"seed": 1}}
    rows = ask(client, "/v1/route", key, body).json()["alternatives"]
    return {row["model"]: row["coefficient"] for row in rows}


def say(client: httpx.Client, key: str, n: int, winner: str = "model_b") -> str:
    """The key prefers the cheap model, n times; the id of the last request."""
    for _ in range(n):
        answer = ask(client, "/v1/chat/completions", key, CHAT)
        request_id = answer.headers["x-request-id"]
        pair = {"model_a": "dear", "model_b": "cheap"}
        body = {"request_id": request_id, "winner": winner, "comparison": pair}
        ask(client, "/v1/feedback", key, body)
    return str(request_id)


def learnt(client: httpx.Client, scope: str) -> int:
    """How many answers the layer of the scope has learnt."""
    return int(ask(client, "/admin/learning", "key-c").json()["scopes"].get(scope, 0))


def until_learnt(client: httpx.Client, scope: str, n: int) -> None:
    deadline = time.monotonic() + 60
    while learnt(client, scope) < n:
        assert time.monotonic() < deadline, "nothing has been learnt"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_keys_own_feedback_moves_its_routing_alone(
    client: httpx.Client,
    storage_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = coefficients(client, "key-a")
    assert before == coefficients(client, "key-b")
    say(client, "key-a", 10)
    until_learnt(client, "key:a", 10)
    own = coefficients(client, "key-a")
    assert own["cheap"] - own["dear"] > before["cheap"] - before["dear"] + 1.0
    assert coefficients(client, "key-b") == before, "nobody else's"

    # what was decided by is in the receipt, and is replayed
    request_id = say(client, "key-a", 1)
    receipt = ask(client, f"/v1/decisions/{request_id}", "key-c").json()
    assert receipt["local"]["scope"] == "key:a"
    assert receipt["local"]["n_answers"] >= 10
    assert "taste" not in receipt
    assert replay(receipt).differences == []

    # and is what `watch` compares with what was said
    config = tmp_path / "config.yaml"
    config.write_text(config_for("http://127.0.0.1:1/v1", f'storage: {{url: "{storage_url}"}}\n'))
    main(["watch", "--config", str(config), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (report["n"], report["n_skipped"]) == (11, 0)
    assert report["log_loss_marginal"] == pytest.approx(np.log1p(np.exp(1.5 + 0.7)))
    assert report["log_loss"] < report["log_loss_marginal"] - 0.02, "the last was its own layer's"


@pytest.mark.slow
def test_keys_that_differ_stand_on_their_own_answers(on_file: httpx.Client) -> None:
    """Six answers of each are enough, where two keys say the opposite."""
    say(on_file, "key-a", 6)
    say(on_file, "key-b", 6, winner="model_a")
    until_learnt(on_file, "key:a", 12)
    until_learnt(on_file, "key:b", 12)
    now = [coefficients(on_file, f"key-{key}") for key in "abc"]
    gaps = [one["cheap"] - one["dear"] for one in now]
    assert gaps[1] + 0.5 < gaps[2] < gaps[0] - 0.5


@pytest.mark.slow
def test_only_named_keys_have_a_layer_of_their_own(only_b: httpx.Client) -> None:
    say(only_b, "key-a", 6)
    say(only_b, "key-b", 6, winner="model_a")
    until_learnt(only_b, "key:b", 12)
    assert learnt(only_b, "key:a") == 0
    assert coefficients(only_b, "key-a") == coefficients(only_b, "key-c")
