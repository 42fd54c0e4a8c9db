"""The report of what `learn` found, from the file of its grades, with the bundled checkpoint."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from p2l_model.errors import DataError
from server.offline.learn.report import report_of

# Model -> its chance on easy and on hard prompts, and USD of an answer.
WORLD = {
    "claude-opus-5-5": (1.0, 1.0, 0.01),
    "gpt-6.1-sol": (1.0, 0.995, 0.002),
    "gpt-6-luna": (0.5, 0.1, 0.0001),
}


def rows(n: int, source: str = "checker:expected") -> list[dict[str, Any]]:
    chance = random.Random(0)
    found = []
    for k in range(n):
        hard = k % 2 == 1
        text = f"Prove theorem {k} of algebra." if hard else f"Say hello number {k}."
        for model, (easy, difficult, usd) in WORLD.items():
            score = float(chance.random() < (difficult if hard else easy))
            found.append({
                "prompt": [text], "prompt_id": str(k), "model": model, "score": score,
                "category": "hard" if hard else "easy", "cost_usd": usd, "judge": source,
                "latency_ms": 500 if hard else 100,
            })  # fmt: skip
    return found


def write(folder: Path, found: list[dict[str, Any]]) -> None:
    (folder / "grades.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))


def report(folder: Path, against: str | None = None) -> Any:
    return report_of(folder, "bundled", "auto", against, lambda _stage, _done, _of: None)


@pytest.mark.slow
def test_what_a_model_as_good_saves(tmp_path: Path) -> None:
    equal = [row | {"score": 1.0} if row["model"] == "gpt-6.1-sol" else row for row in rows(120)]
    write(tmp_path, equal)
    found, notes = report(tmp_path, "claude-opus-5-5")
    assert found.baseline.model == "claude-opus-5-5"
    assert found.pays.value <= 2.0
    assert found.saved.low > 0.6
    shares = {kind.name: dict(kind.shares) for kind in found.kinds}
    assert shares.keys() == {"easy", "hard"}
    assert shares["hard"]["gpt-6.1-sol"] > 0.9
    assert found.baseline.latency_s == pytest.approx(0.3)
    assert all(offer.usd_per_win is None for offer in found.offers)
    html = (tmp_path / "report.html").read_text()
    assert (tmp_path / "report.html").stat().st_mode & 0o077 == 0
    assert "instead of $10.00 per 1,000 requests" in html
    assert "Prove theorem" not in html
    assert "Graded by checker:expected" in notes[0]
    assert {path.name for path in tmp_path.iterdir()} == {"grades.jsonl", "report.html"}
    with pytest.raises(DataError, match="--against gpt-9"):
        report(tmp_path, "gpt-9")


@pytest.mark.slow
def test_grades_of_another_source_are_not_mixed_in(tmp_path: Path) -> None:
    other = [row | {"score": 0.5, "prompt": ["another"]} for row in rows(1, "judge:x:1")]
    write(tmp_path, rows(60) + other)
    found, notes = report(tmp_path)
    assert found.measured.n_prompts == 60
    assert any("3 grades of other sources" in note for note in notes)


@pytest.mark.slow
def test_the_best_model_stays_though_its_place_was_settled_early(tmp_path: Path) -> None:
    early = [
        row for row in rows(100) if row["model"] != "claude-opus-5-5" or int(row["prompt_id"]) < 60
    ]
    write(tmp_path, early)
    found, notes = report(tmp_path)
    assert found.baseline.model == "claude-opus-5-5"
    assert found.measured.n_prompts == 60
    assert any("40 prompts were not asked of the best model" in note for note in notes)


@pytest.mark.parametrize("n", [0, 1, 19])
def test_too_few_prompts_make_no_report(tmp_path: Path, n: int) -> None:
    write(tmp_path, rows(n))
    found, notes = report(tmp_path)
    assert found is None
    assert notes[0].startswith("There is no report: ")
    assert not (tmp_path / "report.html").exists()
