"""A person's votes are compared with the judge's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Done, p2l_router

from p2l_model.errors import DataError
from server.offline.learn.agreement import agreement, kappa, pairs_of, votes_of
from server.offline.learn.journal import json_line


def votes(*rows: tuple[str, str, int]) -> list[dict[str, str]]:
    return [{"person": a, "judge": b} for a, b, n in rows for _ in range(n)]


def test_kappa_is_cohens() -> None:
    # The textbook's example: 50 grants, two readers.
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert kappa(pairs) == pytest.approx(0.4)
    assert kappa([("a", "a"), ("b", "b")]) == 1.0
    assert kappa([("a", "a")] * 5) is None


def test_agreement_has_an_interval_and_a_limit() -> None:
    good = agreement(
        votes(("model_a", "model_a", 40), ("model_b", "model_b", 30), ("tie", "model_a", 10))
    )
    assert good.ci95 is not None
    assert good.kappa is not None
    assert good.ci95[0] < good.kappa < good.ci95[1]
    assert not good.is_poor
    poor = agreement(votes(("model_a", "model_b", 10), ("model_a", "model_a", 12),
                           ("model_b", "model_a", 9), ("model_b", "model_b", 11)))  # fmt: skip
    assert poor.is_poor
    assert agreement([]).kappa is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    answers, grades = [], []
    for number in range(10):
        about = {"prompt": [f"prompt {number}"], "prompt_id": f"p{number}"}
        for model in ("good", "bad", "ref"):
            answers.append({**about, "catalogue_name": model, "answer": f"{model} {number}"})
        for model, raw in (("good", 1.0), ("bad", 0.0), ("ref", 0.5)):
            grades.append({**about, "catalogue_name": model, "score_raw": raw,
                           "judge_version": "1"})  # fmt: skip
    for name, rows in (("answers.jsonl", answers), ("grades.jsonl", grades)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "plan.json").write_text(json.dumps({"reference": "ref"}))
    return tmp_path


def test_pairs_are_shown_in_either_order(folder: Path) -> None:
    pairs = pairs_of(folder, 100, 0)
    assert len(pairs) == 20
    assert {pair.swapped for pair in pairs} == {True, False}
    for pair in pairs:
        assert set(pair.shown) == {pair.answer, pair.reference}
        assert pair.winner_shown(pair.shown.index(pair.answer)) == "model_a"
        assert pair.winner_shown(pair.shown.index(pair.reference)) == "model_b"
        assert pair.winner == ("model_a" if pair.model == "good" else "model_b")
    assert len(pairs_of(folder, 3, 0)) == 3


def review(folder: Path, said: str, *flags: str) -> Done:
    return p2l_router("learn", "review", "--out", str(folder), *flags, stdin=said)


def test_a_review_takes_votes_and_goes_on(folder: Path) -> None:
    first = review(folder, "1\n\nx\n2\nt\ns\nq\n")
    assert first.returncode == 0
    assert len(votes_of(folder)) == 3
    assert "3 votes" in first.stdout
    again = json.loads(review(folder, "1\n" * 100, "--json").stdout)
    assert again["n"] == 20  # the one that was skipped comes again, the others do not
    assert len({(one["prompt_id"], one["model"]) for one in votes_of(folder)}) == 20


def test_an_answer_may_hold_any_character(folder: Path) -> None:
    """Separators of lines that JSON leaves as they are, and codes that a terminal would obey."""
    odd = "\x1b]52;c;AAAA\x07 one\u2028two\x85three\r\nfour\r"
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    text = "".join(json_line(row | {"answer": odd}) for row in rows)
    (folder / "answers.jsonl").write_text(text, encoding="utf-8")
    done = review(folder, "q\n")
    assert done.returncode == 0, done.stderr
    assert "]52;c;AAAA" in done.stderr
    assert "\x1b]52" not in done.stderr
    assert "\x07" not in done.stderr


def test_poor_agreement_is_told(folder: Path) -> None:
    wrong = {pair.prompt_id + pair.model: pair for pair in pairs_of(folder, 100, 0)}
    rows = [
        {"prompt_id": pair.prompt_id, "model": pair.model, "judge": pair.winner,
         "person": "model_b" if pair.winner == "model_a" else "model_a"}
        for pair in wrong.values()
    ]  # fmt: skip
    (folder / "review.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "warning: below 0.4" in review(folder, "").stdout


def test_a_folder_without_judged_answers_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        pairs_of(tmp_path, 1, 0)
