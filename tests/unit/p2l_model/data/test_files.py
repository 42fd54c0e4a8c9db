"""Votes from files: every complaint names file and row, every rule is the documented one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from p2l_model.data.files import load_votes
from p2l_model.data.model_names import canonical, invert
from p2l_model.data.soft_labels import target_matrix
from p2l_model.errors import DataError
from p2l_model.types import Outcome, PreferenceFamily

VOTE: dict[str, Any] = {"prompt": "hi", "model_a": "x", "model_b": "y", "winner": "model_a"}


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_all_three_formats_are_read_alike(tmp_path: Path, kind: str) -> None:
    rows = [VOTE, VOTE | {"prompt": "ho", "winner": "tie (bothbad)"}]
    path = tmp_path / f"votes.{kind}"
    if kind == "jsonl":
        jsonl(path, rows)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(VOTE))
            writer.writeheader()
            writer.writerows(rows)
    votes = load_votes([path])
    assert [c.turns for c in votes.conversations] == [("hi",), ("ho",)]
    assert [list(Outcome)[k] for k in votes.outcome] == [Outcome.MODEL_A, Outcome.TIE_BOTHBAD]
    assert "hi" not in repr(votes)


def test_prompts_as_turns_and_messages(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "image_url"}]},
    ]
    path = jsonl(
        tmp_path / "v.jsonl", [VOTE | {"prompt": ["one", "two"]}, VOTE | {"prompt": messages}]
    )
    assert [c.turns for c in load_votes([path]).conversations] == [("one", "two")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"winner": "a"}, "row 2: winner is 'a'"),
        ({"winner": None}, "row 2: winner"),
        ({"model_b": "x"}, "row 2: x is compared with itself"),
        ({"model_a": ""}, "row 2: model_a and model_b must be names"),
        ({"prompt": 5}, "row 2: prompt must be"),
        ({"p_model_a": 1.5}, "row 2: p_model_a must be a number from 0 to 1"),
        ({"weight": "many"}, "row 2: weight"),
    ],
)
def test_complaints_name_file_and_row(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = jsonl(tmp_path / "votes.jsonl", [VOTE, VOTE | change])
    with pytest.raises(DataError) as error:
        load_votes([path])
    assert said in str(error.value)
    assert "votes.jsonl" in str(error.value)


def test_broken_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": \n')
    (tmp_path / "b.parquet").write_text("no")
    (tmp_path / "c.csv").write_text("prompt,model_a\nx\n")
    (tmp_path / "d.jsonl").write_text("")
    (tmp_path / "e.txt").write_text("x")
    jsonl(tmp_path / "f.jsonl", [{"prompt": "x"}])
    said = ["row 1 is not JSON", "not a parquet", "line 2", "no rows", "must be a", "is missing"]
    for path, expected in zip(sorted(tmp_path.iterdir()), said, strict=True):
        with pytest.raises(DataError, match=expected):
            load_votes([path])


def test_scores_become_votes_by_the_rule(tmp_path: Path) -> None:
    def scores(prompt: str, **models: float) -> list[dict[str, Any]]:
        return [{"prompt": prompt, "model": m, "score": s} for m, s in models.items()]

    rows = scores("p", good=1.0, bad=0.0) + scores("q", good=1.0, bad=1.0)
    rows += scores("r", good=0.2, bad=0.2)
    votes = load_votes([jsonl(tmp_path / "scores.jsonl", rows)])
    said = {}
    for prompt, a, outcome in zip(votes.prompt, votes.model_a, votes.outcome, strict=True):
        winner = list(Outcome)[outcome]
        if winner in (Outcome.MODEL_A, Outcome.MODEL_B):
            first = votes.models[a] == "good"
            said[prompt] = "good" if first == (winner is Outcome.MODEL_A) else "bad"
        else:
            said[prompt] = winner.value
    assert said == {0: "good", 1: "tie", 2: "tie_bothbad"}


def test_other_score_ranges_must_be_named(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "model": m, "score": s} for m, s in (("x", 9), ("y", 3))]
    path = jsonl(tmp_path / "scores.jsonl", rows)
    with pytest.raises(DataError, match="--score-range"):
        load_votes([path])
    assert len(load_votes([path], score_range=(1, 10))) == 1


def test_soft_labels_and_ties_as_targets(tmp_path: Path) -> None:
    rows = [VOTE | {"p_model_a": 0.7}, VOTE | {"winner": "tie"}, VOTE | {"winner": "tie_bothbad"}]
    votes = load_votes([jsonl(tmp_path / "v.jsonl", rows)])
    assert target_matrix(PreferenceFamily.BT, votes) == pytest.approx(
        np.array([[0.7, 0.3], [0.5, 0.5], [0.5, 0.5]])
    )
    assert target_matrix(PreferenceFamily.GRK, votes) == pytest.approx(
        np.array([[0.7, 0.3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    )


def test_one_model_under_two_names_is_one_column(tmp_path: Path) -> None:
    rows = [
        VOTE | {"model_a": "gpt4_1106_preview"},
        VOTE | {"model_a": "gpt-4-1106-preview"},
        VOTE
        | {"model_a": "Llama-3.1-405B-Inst@sambanova", "model_b": "Llama-3.1-405B-Inst@hyperbolic"},
    ]
    votes = load_votes([jsonl(tmp_path / "v.jsonl", rows)])
    assert votes.models == ("gpt-4-1106-preview", "y")
    assert len(votes) == 2, "two hosts of the same weights say nothing about each other"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt4_0314", "gpt-4-0314", True),
        ("google/gemini-2.5-pro", "gemini-2.5-pro", True),
        ("meta-llama/llama-3.1-8b-instruct", "Meta-Llama-3.1-8B-Instruct", True),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Mixtral-8x7B-Instruct-v0.1", True),
        ("Meta-Llama-3-8B-Instruct", "Meta-Llama-3.1-8B-Instruct", False),
        ("Mistral-Large-2", "mistralai/mistral-large-2512", False),
        ("gpt4", "gpt-4-0314", False),
        ("claude-2", "claude-2.1", False),
        ("gpt-3.5-turbo-1106", "gpt-3.5-turbo-1106_concise", False),
    ],
)
def test_aliases(one: str, other: str, same: bool) -> None:
    assert (canonical(one) == canonical(other)) is same
    assert canonical(canonical(one)) == canonical(one)


def test_contradicting_aliases_are_refused() -> None:
    with pytest.raises(ValueError, match="more than one"):
        invert({"a": ["x"], "b": ["x"]})
    with pytest.raises(ValueError, match="more than one"):
        invert({"a": ["b"], "b": ["c"]})


def test_an_answer_that_never_came_is_left_out(tmp_path: Path) -> None:
    rows = [
        {"prompt": "hi", "model": "x", "score": 1.0, "no_response": False},
        {"prompt": "hi", "model": "y", "score": 0.0, "no_response": None},
        {"prompt": "hi", "model": "z", "score": 0.0, "no_response": True},
    ]
    assert load_votes([jsonl(tmp_path / "scores.jsonl", rows)]).models == ("x", "y")


@pytest.mark.parametrize("n_models", [12, 13, 150, 151])
def test_every_model_of_a_prompt_is_in_a_pair(tmp_path: Path, n_models: int) -> None:
    rows = [{"prompt": "hi", "model": f"m{k}", "score": k / 200} for k in range(n_models)]
    votes = load_votes([jsonl(tmp_path / "scores.jsonl", rows)])
    assert len(votes.models) == n_models
    assert len(votes) == max(64, -(-n_models // 2))
    sides = zip(votes.model_a.tolist(), votes.model_b.tolist(), strict=True)
    assert len({frozenset(pair) for pair in sides}) == len(votes)


def test_models_are_found_in_another_spelling(tmp_path: Path) -> None:
    rows = [VOTE | {"model_a": "openai/gpt-5.5", "model_b": "z-ai/glm5@nim"}]
    votes = load_votes([jsonl(tmp_path / "votes.jsonl", rows)]).among(["glm-5", "gpt-5.5"])
    assert votes.models == ("glm-5", "gpt-5.5")
    assert (votes.model_a.tolist(), votes.model_b.tolist()) == ([1], [0])
