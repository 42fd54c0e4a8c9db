"""A new model serves a share of a profile's sessions until ratings show that it is worse; every
gateway of the database then leaves it out, also after a restart."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for
from sqlalchemy import event

from server.cli import main
from server.storage.trial_ratings import trial_ratings
from server.tasks.judge_trials import _Judging

PROFILE = """
routing: {profiles: {best: {models: [dear, middle], trial: {models: [middle], share: 0.5}}}}
"""
CHAT: dict[str, Any] = {"model": "p2l:best", "messages": [{"role": "user", "content": "Which?"}]}
ENVIRON = {"MAIN_KEY": "sk-provider-canary"}


@pytest.fixture
def config(provider: FakeProvider, tmp_path: Path) -> str:
    storage = f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}\n'
    return config_for(provider.base_url, PROFILE + storage)


def asked(http: httpx.Client, session: str, **headers: str) -> httpx.Response:
    answer = http.post(
        "/v1/chat/completions", json=CHAT, headers={"x-session-id": session, **headers}
    )
    assert answer.status_code == 200, answer.text
    return answer


def client(live: LiveGateway) -> httpx.Client:
    return httpx.Client(base_url=live.url, trust_env=False, timeout=20)


def rated(http: httpx.Client, sessions: range, score: dict[str, float]) -> dict[str, str]:
    """Which model answered each session; each answer is rated by its model."""
    found = {}
    for number in sessions:
        answer = asked(http, f"job {number}")
        found[f"job {number}"] = model = answer.headers["x-p2l-model"]
        told = {"request_id": answer.headers["x-request-id"], "rating": score[model]}
        assert http.post("/v1/feedback", json=told).status_code == 200
    return found


@pytest.mark.slow
def test_a_session_stays_in_its_arm_and_the_receipt_says_which(config: str) -> None:
    with LiveGateway(config, ENVIRON) as live, client(live) as http:
        for number in range(12):
            models = {asked(http, f"job {number}").headers["x-p2l-model"] for _ in range(3)}
            assert len(models) == 1
            answer = asked(http, f"job {number}")
            receipt = http.get(f"/v1/decisions/{answer.headers['x-request-id']}").json()
            arm = "new" if models == {"middle"} else "usual"
            assert receipt["trial"]["arm"] == arm
        # the request's own list decides before the trial
        assert asked(http, "job 0", **{"x-route-models": "dear"}).headers["x-p2l-model"] == "dear"


@pytest.mark.slow
def test_a_worse_model_is_stopped_everywhere_and_for_good(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config)
    command = ["trials", "--config", str(path), "--json"]
    with LiveGateway(config, ENVIRON) as live, client(live) as http:
        found = rated(http, range(60), {"dear": 1.0, "middle": 0.0})
        assert 15 < sum(model == "middle" for model in found.values()) < 45
        planner = live.state.gateway.planner
        for _ in range(600):
            if planner.trials.stopped:
                break
            time.sleep(0.05)
        assert planner.trials.stopped
        for session in (*found, "a new job"):
            assert asked(http, session).headers["x-p2l-model"] == "dear"
    assert main(command) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["profile"], row["verdict"]) == ("best", "worse")
    assert row["stopped_at"] is not None
    assert row["n_new"] + row["n_usual"] == 60
    assert row["difference_high"] < -0.05
    with LiveGateway(config, ENVIRON) as other, client(other) as http:
        for _ in range(200):
            if other.state.gateway.planner.trials.stopped:
                break
            time.sleep(0.05)
        models = {asked(http, f"later {n}").headers["x-p2l-model"] for n in range(20)}
        assert models == {"dear"}
    assert main(command[:-1]) == 0
    assert "stopped on" in capsys.readouterr().out


@pytest.mark.slow
def test_a_session_counts_once_however_often_it_is_rated(config: str) -> None:
    """Forty ratings of one job are no proof against a model."""
    with LiveGateway(config, ENVIRON) as live, client(live) as http:
        found = rated(http, range(12), {"dear": 1.0, "middle": 0.5})
        job = next(job for job, model in found.items() if model == "middle")
        for _ in range(3):
            told = {"request_id": asked(http, job).headers["x-request-id"], "rating": 0.1}
            assert http.post("/v1/feedback", json=told).status_code == 200
        state = live.state
        (ratings,) = trial_ratings(state.store.database).values()
    assert len(ratings) == 12
    values = sorted(value for is_new, value in ratings if is_new)
    n_new = sum(model == "middle" for model in found.values())
    assert values == pytest.approx([0.2] + [0.5] * (n_new - 1))


@pytest.mark.slow
def test_ratings_are_read_again_only_where_there_are_new_ones(config: str) -> None:
    read: list[str] = []
    with LiveGateway(config, ENVIRON) as live, client(live) as http:
        rated(http, range(3), {"dear": 1.0, "middle": 0.5})
        judging = _Judging(live.state)
        asyncio.run(judging())
        engine = live.state.store.database.engine

        here = threading.get_ident()

        def note(*about: Any) -> None:
            if threading.get_ident() == here and "receipts" in about[2]:
                read.append(about[2])

        event.listen(engine, "before_cursor_execute", note)
        judging._stopped(live.state.settings.routing, 0.0)
        assert read == []
        rated(http, range(3, 4), {"dear": 1.0, "middle": 0.5})
        judging._stopped(live.state.settings.routing, 0.0)
        assert len(read) == 1


@pytest.mark.slow
def test_a_model_that_is_as_good_goes_on(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config)
    with LiveGateway(config, ENVIRON) as live, client(live) as http:
        rated(http, range(20), {"dear": 0.9, "middle": 0.9})
    assert main(["trials", "--config", str(path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["verdict"], row["stopped_at"]) == ("open", None)


def test_without_a_trial_the_command_says_how_to_begin(
    provider: FakeProvider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    storage = f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}\n'
    path.write_text(config_for(provider.base_url, storage))
    assert main(["trials", "--config", str(path)]) == 0
    assert "routing.profiles.NAME.trial" in capsys.readouterr().out
