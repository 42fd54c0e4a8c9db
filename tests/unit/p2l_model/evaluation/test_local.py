"""The evaluation of local layers, on sets whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2l_model.errors import DataError
from p2l_model.evaluation.local import GradedRows, evaluate_local, graded_rows, merged
from p2l_model.local.terms import PromptTerms
from p2l_model.placement.place import bundled_placer

MODELS = ("gpt-5-high", "gpt-4o-2024-05-13", "llama-3.1-8b", "our-own-finetune", "claude-opus-4-5",
          "gemma-2-9b-it")  # fmt: skip
PATH = Path("made.parquet")


def columns(n_prompts: int = 60, seed: int = 0, hardness: float = 1.0) -> dict[str, list[Any]]:
    """Scores of models whose strengths follow their places, on prompts of unlike difficulty."""
    chance = np.random.default_rng(seed)
    strength = [bundled_placer().place(name).mean for name in MODELS]
    difficulty = hardness * chance.normal(size=n_prompts)
    rows: dict[str, list[Any]] = {"prompt_id": [], "prompt": [], "model": [], "score": []}
    for prompt in range(n_prompts):
        for name, own in zip(MODELS, strength, strict=True):
            p = 1 / (1 + np.exp(-(0.3 + 0.5 * own + difficulty[prompt])))
            rows["prompt_id"].append(f"p{prompt}")
            rows["prompt"].append(f"prompt {prompt}")
            rows["model"].append(name)
            rows["score"].append(float(chance.random() < p))
    return rows


def known(rows: GradedRows, seed: int = 0, hardness: float = 1.0) -> list[PromptTerms]:
    difficulty = hardness * np.random.default_rng(seed).normal(size=len(rows.conversations))
    return [PromptTerms(float(one)) for one in difficulty]


def test_an_answer_that_never_came_is_no_bad_answer() -> None:
    given = columns()
    absent = [True] + [False] * (len(given["model"]) - 1)
    rows = graded_rows({**given, "no_response": absent}, PATH)
    assert len(rows) == len(graded_rows(given, PATH)) - 1


@pytest.mark.slow
def test_the_report_has_all_numbers_and_repeats_itself() -> None:
    rows = graded_rows(columns(), PATH)
    terms = [PromptTerms()] * len(rows.conversations)
    report = evaluate_local(rows, terms, bundled_placer(), 50, 2)
    assert report == evaluate_local(rows, terms, bundled_placer(), 50, 2)
    assert (report["n"], report["n_rows"], report["n_models"]) == (60, 360, 6)
    for name in ("delta", "delta_same_n"):
        low, high = report[f"{name}_ci95"]
        assert low <= report[name] <= high
    assert report["delta"] == pytest.approx(report["cross_entropy"] - report["model_means"])
    assert report["order_spearman"] > 0.8
    assert report["n_models_facts"] == 5


@pytest.mark.slow
def test_answers_help_and_the_checkpoint_helps_where_it_knows() -> None:
    rows = graded_rows(columns(120), PATH)
    blind = [PromptTerms()] * len(rows.conversations)
    nothing, some, many = (
        evaluate_local(rows, blind, bundled_placer(), n, 3)["cross_entropy"] for n in (0, 50, 400)
    )
    assert nothing > many - 0.01
    assert some > many - 0.01
    told = evaluate_local(rows, known(rows), bundled_placer(), 400, 3)
    assert told["cross_entropy"] < many - 0.03
    assert told["delta"] < 0


def test_no_answers_are_allowed_and_means_are_then_a_half() -> None:
    rows = graded_rows(columns(), PATH)
    report = evaluate_local(rows, [PromptTerms()] * 60, bundled_placer(), 0, 1)
    assert report["means_same_n"] == pytest.approx(np.log(2))


def test_model_means_leave_the_prompt_itself_out() -> None:
    given = {
        "prompt_id": ["p", "q", "r"],
        "prompt": ["p", "q", "r"],
        "model": ["m"] * 3,
        "score": [1.0, 0.0, 1.0],
    }
    report = evaluate_local(graded_rows(given, PATH), [PromptTerms()] * 3, bundled_placer(), 0, 1)
    means = np.array([1.5 / 3, 2.5 / 3, 1.5 / 3])
    losses = [-np.log(means[0]), -np.log(1 - means[1]), -np.log(means[2])]
    assert report["model_means"] == pytest.approx(np.mean(losses))
    assert report["order_spearman"] is None


def test_judges_are_kept_apart_and_rows_without_a_score_are_left_out() -> None:
    given = columns(20)
    given["judge"] = [("one", "two")[n % 2] for n in range(len(given["score"]))]
    given["score"][3] = None
    given["score"][4] = float("nan")
    rows = graded_rows(given, PATH)
    assert len(rows) == 118
    assert set(rows.judge) == {"one", "two"}
    report = evaluate_local(rows, [PromptTerms()] * 20, bundled_placer(), 40, 1)
    assert report["n_rows"] == 118


def test_equal_names_become_one_model() -> None:
    rows = graded_rows(columns(10), PATH)
    one = merged(rows, {"gpt-4o-2024-05-13": "gpt-5-high"})
    assert len(one.models) == 5
    assert len(one) == len(rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": [2.0]}, "row 1: the score 2.0 is outside"),
        ({"score": [None]}, "no graded answer"),
        ({"model": None}, "'model' is missing"),
    ],
)
def test_what_cannot_be_read_is_told(change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"prompt_id": ["p"], "prompt": ["p"], "model": ["m"], "score": [1.0]}
    given = {name: value for name, value in (given | change).items() if value is not None}
    with pytest.raises(DataError, match=words):
        graded_rows(given, PATH)


def test_scores_on_another_scale_are_mapped() -> None:
    given = {"prompt": ["p", "q"], "model": ["m", "m"], "score": [1, 10]}
    assert graded_rows(given, PATH, (1.0, 10.0)).score.tolist() == [0.0, 1.0]
