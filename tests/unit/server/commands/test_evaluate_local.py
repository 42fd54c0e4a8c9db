"""`p2l-router evaluate --local N` on a small file of graded answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.cli import main

PROMPTS = ("What is 2 + 2?", "Prove Fermat's last theorem.", "Write a haiku.", "Sort 3, 1, 2.",
           "Translate 'good morning' into French.", "Explain entropy to a child.")  # fmt: skip
MODELS = ("gpt-5-high", "llama-3.1-8b", "our-own-finetune", "claude-opus-4.5")


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scores") / "scores.jsonl"
    rows = [
        {"prompt": prompt, "model": model, "score": float((p + m) % 3 > 0)}
        for p, prompt in enumerate(PROMPTS)
        for m, model in enumerate(MODELS)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_the_report_as_json_and_for_people(
    scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--data", str(scores), "--local", "8", "--seeds", "2"]
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n"], report["n_rows"], report["n_models"]) == (6, 24, 4)
    assert report["n_answers"] == 8
    assert {"cross_entropy", "model_means", "means_same_n", "delta", "delta_ci95", "delta_same_n",
            "delta_same_n_ci95", "order_spearman", "order_spearman_facts",
            "n_models_facts"} <= set(report)  # fmt: skip
    assert main(arguments) == 0
    assert "24 graded answers of 4 models to 6 prompts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--local", "-1"], "must be a number of 0 or more"),
        (["--local", "3", "--seeds", "0"], "must be a number of 1 or more"),
    ],
)
def test_wrong_numbers_are_told(
    arguments: list[str], words: str, scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--data", str(scores), *arguments])
    assert words in capsys.readouterr().err


def test_a_missing_file_and_two_files_are_told(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--data", str(tmp_path / "none.jsonl"), "--local", "1"]) != 0
    assert "none.jsonl" in capsys.readouterr().err
    assert main(["evaluate", "--data", str(scores), str(scores), "--local", "1"]) != 0
    assert "one file of graded answers" in capsys.readouterr().err
