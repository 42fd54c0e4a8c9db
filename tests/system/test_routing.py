"""POST /v1/route and /v1/leaderboard, GET /v1/models, health: what is said without sending."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


def test_route_is_a_decision_and_nothing_else(client: httpx.Client, provider: FakeProvider) -> None:
    headers = {"X-Cost-Budget": "0.0008", "X-Route-Seed": "1"}
    response = client.post("/v1/route", json=BODY, headers=headers)
    decision = response.json()
    assert provider.requests == []
    assert decision["object"] == "route"
    assert decision["request_id"] == response.headers["x-request-id"]
    assert decision["model"] == response.headers["x-p2l-model"]
    assert response.headers["x-p2l-attempts"] == "0"
    assert decision["mix_expected_cost_usd"] <= 0.0008
    assert decision["shadow_price"] > 0
    assert sum(decision["mix"].values()) == pytest.approx(1)
    share = {row["model"]: row["win_rate"] for row in decision["alternatives"]}
    mixed = sum(p * share[name] for name, p in decision["mix"].items())
    assert decision["mix_win_rate"] == pytest.approx(mixed)
    sent = client.post("/v1/chat/completions", json=BODY | {"model": "p2l"}, headers=headers)
    assert sent.headers["x-p2l-model"] == decision["model"], "the same seed, the same draw"


@pytest.mark.parametrize("body", [BODY, {"prompt": "Hello"}])
def test_leaderboard(client: httpx.Client, body: dict[str, Any]) -> None:
    board = client.post("/v1/leaderboard", json=body).json()
    assert board["object"] == "leaderboard"
    assert board["family"] == "bt"
    assert [row["model"] for row in board["data"]] == ["dear", "middle", "elsewhere", "cheap"]
    by_name = {row["model"]: row for row in board["data"]}
    assert by_name["dear"]["expected_cost_usd"] > by_name["cheap"]["expected_cost_usd"] > 0
    assert by_name["elsewhere"]["expected_cost_usd"] is None
    assert set(by_name["dear"]) == {
        "model", "rank", "coefficient", "win_rate", "expected_output_tokens", "expected_cost_usd",
        "sd", "interval80", "rests_on",
    }  # fmt: skip


@pytest.mark.parametrize("body", [{}, {"prompt": 5}, {"prompt": "x"} | BODY, {"messages": 1}])
def test_bad_leaderboard_requests(client: httpx.Client, body: dict[str, Any]) -> None:
    response = client.post("/v1/leaderboard", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"


def test_models(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [m["id"] for m in listed["data"]] == ["p2l", "dear", "middle", "cheap"]
    assert client.get("/v1/models/middle").json()["owned_by"] == "main"
    assert client.get("/v1/models/p2l").json()["object"] == "model"
    missing = client.get("/v1/models/nobody")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"


def test_health(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
