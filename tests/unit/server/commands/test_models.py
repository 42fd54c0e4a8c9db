"""`p2l-router models`: places, what they rest on, and what was seen on this traffic."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from server.build import build_scorer, database_of
from server.catalogue.cards import build_catalogue
from server.cli import main
from server.config.file import parse_settings
from server.config.settings import Settings
from server.gateway.local_layers import usual_values
from server.gateway.planner import Planner
from server.storage.feedback import Opinion, add_feedback, answers_by_model
from server.storage.grades import Grade, add_grades
from server.storage.migrate import migrate
from server.tasks.learn_local import current

CONFIG = """
providers: {{p: {{base_url: "http://127.0.0.1:9/v1"}}}}
models:
  gpt-4o: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  gpt-6.1-sol: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  our-own: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{gpt-4o: 1, llama-3.1-8b: -1, claude-3-haiku-20240307: 0}}}}
storage: {{url: "sqlite:///{folder}/ledger.db"}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    return path


def test_models_are_listed_by_their_places(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--config", str(config), "--json"]) == 0
    rows = {row["model"]: row for row in json.loads(capsys.readouterr().out)["data"]}
    own, placed, unknown = rows["gpt-4o"], rows["gpt-6.1-sol"], rows["our-own"]
    assert own["coefficient"] == 1.0
    assert own["interval80"] == [1.0, 1.0]
    assert own["rests_on"] == "the leaderboard's own column"
    low, high = placed["interval80"]
    assert low < placed["coefficient"] < high
    assert placed["coefficient"] > own["coefficient"]
    assert unknown["interval80"][1] - unknown["interval80"][0] > high - low
    assert (own["attempts"], own["mean_cost_usd"]) == (0, None)


def test_the_table_says_what_places_rest_on(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "80% interval" in lines[0]
    (line,) = (one for one in lines if one.startswith("gpt-6.1-sol"))
    assert "no published result; family gpt, version, date, price" in line


def test_answers_are_counted_by_the_model_they_judge(config: Path) -> None:
    folder = config.parent
    settings = Settings.model_validate({"storage": {"url": f"sqlite:///{folder}/ledger.db"}})
    database = database_of(settings.storage)
    try:
        migrate(database)
        add_feedback(database, "one", "key", Opinion(model="gpt-4o", rating=1.0))
        vote = Opinion(model_a="gpt-4o", model_b="our-own", winner="model_b")
        add_feedback(database, "two", "key", vote)
        assert answers_by_model(database) == {"gpt-4o": 2, "our-own": 1}
    finally:
        database.close()


def test_answers_and_attempts_are_shown(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test_answers_are_counted_by_the_model_they_judge(config)
    assert main(["models", "--config", str(config), "--json"]) == 0
    rows = {row["model"]: row["answers"] for row in json.loads(capsys.readouterr().out)["data"]}
    assert rows == {"gpt-4o": 2, "our-own": 1, "gpt-6.1-sol": 0}


def test_answers_here_move_the_places_and_narrow_the_intervals(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows() -> dict[str, Any]:
        assert main(["models", "--config", str(config), "--json"]) == 0
        return {row["model"]: row for row in json.loads(capsys.readouterr().out)["data"]}

    before = rows()
    settings = parse_settings(config.read_text(encoding="utf-8"))
    database = database_of(settings.storage)
    try:
        graded = (("our-own", 0.9), ("gpt-4o", 0.2), ("gpt-6.1-sol", 0.5))
        add_grades(
            database,
            [
                Grade(id=f"{name}{n}", source="judge", model=name, score=score)
                for name, score in graded
                for n in range(20)
            ],
        )
        planner = Planner(
            build_catalogue(settings), settings.routing, settings.scorer,
            build_scorer(settings.scorer),
        )  # fmt: skip
        frame = planner.frame()
        assert frame is not None
        layers = current(database, frame, settings.learning, "", time.time())
    finally:
        database.close()
    assert layers is not None
    after = rows()
    assert after["our-own"]["coefficient"] > after["gpt-4o"]["coefficient"]
    assert after["our-own"]["answers"] == 20
    assert after["our-own"]["rests_on"].endswith("; answers here")

    def width(row: dict[str, Any]) -> float:
        return float(row["interval80"][1] - row["interval80"][0])

    assert 0 < width(after["our-own"]) < width(before["our-own"]) / 2
    said = {name: row["coefficient"] for name, row in after.items()}
    assert said == {
        name: coefficient for name, (coefficient, _) in usual_values(layers, frame).items()
    }
