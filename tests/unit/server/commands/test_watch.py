"""Drift: from feedback and receipts in a real database, with alarms where they are due."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert
from tiny_checkpoint import write_checkpoint

from p2l_model.analysis.drift import Judged, Limits, drift
from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.receipt_form import fold
from server.cli import main
from server.commands.watch import Gauges
from server.gateway.local_layers import LocalLayers
from server.storage.database import Database
from server.storage.migrate import migrate
from server.storage.rows import micros
from server.storage.schema import catalogues, feedback, prompts, receipts
from server.tasks.learn_local import store_layers

CONFIG = """
providers: {{main: {{kind: sandbox}}}}
models:
  good: {{provider: main, leaderboard_name: best, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  bad: {{provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{best: 0.2, bad: 0.0}}}}
storage: {{url: "sqlite:///{path}", keep_prompts: true}}
"""


def comparisons(n: int, right: bool, seed: int = 0) -> list[Judged]:
    """right: outcomes are drawn from the predictions; else from their opposite."""
    chance = np.random.default_rng(seed)
    p = chance.uniform(0.1, 0.9, size=n)
    y = chance.uniform(size=n) < (p if right else 1 - p)
    return [Judged(float(a), 0.5, float(b), 0.0) for a, b in zip(p, y, strict=True)]


@pytest.mark.slow
def test_right_predictions_raise_no_alarm() -> None:
    raised = [drift(comparisons(300, True, seed), Limits()).alarms for seed in range(12)]
    assert sum(map(bool, raised)) <= 3
    found = drift(comparisons(2000, True), Limits())
    assert found.difference is not None
    assert found.difference < 0


def test_wrong_predictions_raise_both() -> None:
    found = drift(comparisons(300, False), Limits())
    assert found.alarms == ("worse_than_marginal", "miscalibrated")
    assert drift(comparisons(30, False), Limits()).alarms == ()
    assert drift([], Limits()).log_loss is None


@pytest.fixture
def stored(tmp_path: Path) -> str:
    """A configuration whose database has a hundred comparisons: `good` was predicted, `bad` won."""
    path = tmp_path / "store.db"
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(path=path))
    database = Database(f"sqlite:///{path}")
    migrate(database)
    board = PromptLeaderboard(PreferenceFamily.BT, ("best", "bad"), np.array([2.0, 0.0]))
    receipt, common = fold(board, (), (), seed=None, about={})
    now = int(time.time() * 1e6)
    with database.begin() as connection:
        shared = {"version": common.version, "document": json.dumps(common.document)}
        connection.execute(insert(catalogues).values(**shared, created_at=now))
        for index in range(100):
            name = {"request_id": f"r{index}", "created_at": now - index}
            stored = {"catalogue_version": common.version, "document": json.dumps(receipt)}
            connection.execute(insert(receipts).values(**name, **stored, key_name="kim"))
            said = {"model_a": "good", "model_b": "bad", "winner": "model_b"}
            connection.execute(insert(feedback).values(**name, key_name="kim", **said))
            text = json.dumps([f"{'abc'[index % 3]} prompt"])
            connection.execute(insert(prompts).values(**name, messages=text))
        rating = {"request_id": "old", "created_at": now, "rating": 0.5, "key_name": "kim"}
        connection.execute(insert(feedback).values(**rating))
    database.close()
    return str(config)


@pytest.mark.slow
def test_the_command_raises_the_alarm(stored: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--config", stored, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["n"] == 100
    assert report["n_skipped"] == 1
    assert report["log_loss"] == pytest.approx(np.log1p(np.exp(2.0)))
    assert report["log_loss_marginal"] == pytest.approx(np.log1p(np.exp(0.2)))
    assert report["alarms"] == ["worse_than_marginal", "miscalibrated"]
    assert main(["watch", "--config", stored, "--min-comparisons", "1000"]) == 0
    assert "no alarm" in capsys.readouterr().out


@pytest.mark.slow
def test_a_model_that_has_changed_raises_an_alarm(
    stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    database = Database(f"sqlite:///{tmp_path / 'store.db'}")
    noticed = {"bad": micros(now - 3600), "good": micros(now - 9 * 86_400)}
    store_layers(database, LocalLayers("v", changed=noticed), now)
    database.close()
    quiet = ["watch", "--config", stored, "--min-comparisons", "1000"]
    assert main([*quiet, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["alarms"], report["changed_models"]) == (["model_changed"], ["bad"])
    assert main(quiet) == 1
    assert "bad: its grades are not what they were" in capsys.readouterr().out
    assert main([*quiet, "--hours", "0.5"]) == 0


def test_alarms_are_metrics(unused_port: int) -> None:
    gauges = Gauges(unused_port)
    report = drift(comparisons(300, False), Limits())
    gauges.show(report, 3, [*report.alarms, "model_changed"])
    with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/metrics") as answer:
        text = answer.read().decode()
    assert 'p2l_drift_alarm{alarm="miscalibrated"} 1.0' in text
    assert 'p2l_drift_alarm{alarm="model_changed"} 1.0' in text
    assert "p2l_drift_comparisons 300.0" in text
    assert "p2l_drift_skipped 3.0" in text


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_stored_traffic_is_aggregated(
    stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(write_checkpoint(tmp_path / "checkpoint"))
    args = ["--prompts", "stored", "--config", stored, "--checkpoint", checkpoint]
    assert main(["aggregate", *args, "--by", "key", "--resamples", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["groups"]) == ["kim"]
    assert report["n_prompts"] == 3


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--port", "9000"], "needs --every"),
        (["--hours", "0"], "above 0"),
        (["--config", "/nonexistent.yaml"], "cannot be read"),
    ],
)
def test_bad_flags(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", *args]) == 2
    assert said in capsys.readouterr().err
