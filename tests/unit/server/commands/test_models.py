"""`p2l-router models`: places, what they rest on, and what was seen on this traffic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.build import database_of
from server.cli import main
from server.config.settings import Settings
from server.storage.feedback import Opinion, add_feedback, answers_by_model
from server.storage.migrate import migrate

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
