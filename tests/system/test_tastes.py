"""Routing by each key's own taste, learnt from its feedback."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for

from p2l_model.preference import log_probabilities
from p2l_model.types import Outcome, PreferenceFamily, PromptLeaderboard
from router.receipt import replay
from server.cli import main
from server.config.settings import TasteSettings
from server.gateway.tastes import OwnTaste, Tastes
from server.storage.comparisons import Comparison
from server.tasks.learn_tastes import tastes_of

CONFIG = """
auth: {keys: [{name: a, key_env: A}, {name: b, key_env: B}, {name: boss, key_env: C, admin: true}]}
routing: {tastes: {every_s: 0.2, min_votes: 10}}
limits: {feedback_per_minute: 100}
"""
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "B": "key-b", "C": "key-c"}
CHAT = {"model": "p2l", "messages": [{"role": "user", "content": "Which is better?"}]}
MODELS = ("m0", "m1", "m2", "m3", "m4")
RULES = TasteSettings()


@pytest.fixture
def client(storage_url: str) -> Iterator[httpx.Client]:
    storage = f'storage: {{url: "{storage_url}"}}\n'
    with (
        FakeProvider(api_key="sk-provider-canary") as provider,
        LiveGateway(config_for(provider.base_url, CONFIG + storage), ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        yield http


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


def say(client: httpx.Client, key: str, n: int) -> str:
    """The key prefers the cheap model, n times; the id of the last request."""
    for _ in range(n):
        answer = ask(client, "/v1/chat/completions", key, CHAT)
        request_id = answer.headers["x-request-id"]
        pair = {"model_a": "dear", "model_b": "cheap"}
        body = {"request_id": request_id, "winner": "model_b", "comparison": pair}
        ask(client, "/v1/feedback", key, body)
    return str(request_id)


def until_moved(client: httpx.Client, key: str, known: dict[str, float]) -> dict[str, float]:
    deadline = time.monotonic() + 20
    while (found := coefficients(client, key)) == known:
        assert time.monotonic() < deadline, "nothing has been learnt"
        time.sleep(0.1)
    return found


def test_a_keys_own_feedback_moves_its_routing_alone(
    client: httpx.Client,
    storage_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = coefficients(client, "key-a")
    assert before == coefficients(client, "key-b")
    say(client, "key-a", 30)
    own = until_moved(client, "key-a", before)
    assert own["cheap"] - own["dear"] > before["cheap"] - before["dear"] + 1.0
    assert coefficients(client, "key-b") == before, "nobody else's"

    # what was decided by is in the receipt, and is replayed
    request_id = say(client, "key-a", 1)
    receipt = ask(client, f"/v1/decisions/{request_id}", "key-c").json()
    assert receipt["taste"]["n_votes"] >= 10
    assert replay(receipt).differences == []

    # and is what `watch` compares with what was said
    config = tmp_path / "config.yaml"
    config.write_text(config_for("http://127.0.0.1:1/v1", f'storage: {{url: "{storage_url}"}}\n'))
    main(["watch", "--config", str(config), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (report["n"], report["n_skipped"]) == (31, 0)
    assert report["log_loss_marginal"] == pytest.approx(np.log1p(np.exp(1.5 + 0.7)))
    assert report["log_loss"] < report["log_loss_marginal"], "the last was asked by its own taste"


def test_off_by_default() -> None:
    with (
        FakeProvider(api_key="sk-provider-canary") as provider,
        LiveGateway(config_for(provider.base_url, ""), ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        before = coefficients(http, "none")
        request_id = say(http, "none", 12)
        assert coefficients(http, "none") == before
        assert ask(http, f"/v1/decisions/{request_id}", "none").json()["taste"] is None


def heard(key: str, taste: np.ndarray[Any, Any], n: int, seed: int) -> list[Comparison]:
    """n comparisons, one a prompt, by someone with the taste."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        board = np.linspace(-1, 1, 5) + chance.normal(size=5)
        a, b = chance.permutation(5)[:2].tolist()
        truth = board + taste
        logs = log_probabilities(PreferenceFamily.GRK, truth[a], truth[b], 0.0, 0.0)
        winner = list(Outcome)[chance.choice(4, p=np.exp(logs))].value
        stored = {"family": "grk", "models": list(MODELS), "coefficients": board.tolist(),
                  "eta": 0.0, "gamma": 0.0}  # fmt: skip
        found.append(Comparison(key, MODELS[a], MODELS[b], winner, stored, None))
    return found


def test_planted_tastes_are_found_and_what_all_share_moves_nobody() -> None:
    chance = np.random.default_rng(5)
    everyones = np.array([2.0, 0.0, 0.0, 0.0, -2.0])
    tastes = {f"key{k}": chance.normal(size=5) for k in range(8)}
    said = [
        one
        for k, (key, taste) in enumerate(tastes.items())
        for one in heard(key, everyones + taste, 120, k)
    ]
    found = tastes_of(said + heard("quiet", everyones, 3, 99), MODELS, RULES, {})
    assert set(found.by_key) == set(tastes), "three comparisons are too few"
    own = np.array([found.by_key[key].shift for key in tastes])
    planted = np.array(list(tastes.values()))
    planted -= planted.mean(axis=0)
    centred = [x - x.mean(axis=1, keepdims=True) for x in (own, planted)]
    assert np.corrcoef(centred[0].ravel(), centred[1].ravel())[0, 1] > 0.8
    assert np.abs(own.mean(axis=0)).max() < 0.6, "not what all say alike"
    chosen = tastes_of(said, MODELS, TasteSettings(keys=["key3"]), {})
    assert set(chosen.by_key) == {"key3"}


def test_a_taste_is_not_learnt_twice() -> None:
    """What moved a receipt's leaderboard is taken off it before more is learnt."""
    plain = heard("a", np.array([1.0, -1.0, 0.0, 0.0, 0.0]), 60, 3)
    shift = np.array([0.7, -0.7, 0.1, 0.0, -0.1])
    moved = [
        replace(
            one,
            taste={"shift": shift.tolist(), "eta": 0.3},
            leaderboard={
                **one.leaderboard,
                "coefficients": (np.array(one.leaderboard["coefficients"]) + shift).tolist(),
                "eta": 0.3,
            },
        )
        for one in plain
    ]
    first, again = (tastes_of(said, MODELS, RULES, {}).by_key["a"] for said in (plain, moved))
    assert np.abs(first.shift).max() > 0.2
    assert again.shift == pytest.approx(first.shift, abs=1e-6)
    assert again.eta == pytest.approx(first.eta, abs=1e-6)


def test_what_cannot_be_used_is_left_out() -> None:
    said = heard("a", np.zeros(5), 20, 0)
    others = {"old": said[0].leaderboard | {"models": ["m0", "other"]}}
    bad = [
        Comparison("a", "m0", "m1", "model_a", others["old"], None),
        Comparison("a", "m0", "unknown", "model_a", said[0].leaderboard, None),
        Comparison("a", "m0", "m0", "tie", said[0].leaderboard, None),
    ]
    assert tastes_of(bad, MODELS, RULES, {}).by_key == {}
    assert tastes_of(said + bad, MODELS, RULES, {}).by_key["a"].n_votes == 20


def test_another_checkpoints_leaderboard_is_left_as_it_is() -> None:
    board = PromptLeaderboard(PreferenceFamily.BT, ("x", "y"), np.array([0.0, 1.0]))
    taste = OwnTaste(np.array([1.0, 0.0]), 0.5, 9)
    moved, by = Tastes(("x", "y"), {"a": taste}).own("a", board)
    assert moved.coefficients.tolist() == [1.0, 1.0]
    assert moved.eta is None
    assert by is taste
    assert Tastes(("y", "x"), {"a": taste}).own("a", board) == (board, None)
    assert Tastes(("x", "y"), {"a": taste}).own("b", board) == (board, None)
