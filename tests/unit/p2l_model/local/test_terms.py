from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local.terms import PromptAxes, PromptTerms, TermReader, columns_of


def test_what_all_models_share_is_difficulty_and_the_rest_is_deviation() -> None:
    usual = np.array([1.0, 0.0, -1.0])
    reader = TermReader(usual, {"a": 0, "c": 2})
    easy = reader.read(usual + 0.7)
    assert easy.difficulty == pytest.approx(0.7)
    assert easy.deviation == {"a": pytest.approx(0.0), "c": pytest.approx(0.0)}
    odd = reader.read(usual + np.array([0.3, 0.0, -0.3]))
    assert odd.difficulty == pytest.approx(0.0)
    assert odd.deviation["a"] == pytest.approx(0.3)
    assert odd.deviation["c"] == pytest.approx(-0.3)


def boards(n: int) -> np.ndarray:
    """Of four columns: the first two rise where the others fall, and all share a difficulty."""
    chance = np.random.default_rng(n)
    told, shared = chance.normal(size=(n, 1)), 3.0 * chance.normal(size=(n, 1))
    made: np.ndarray = shared + told * np.array([1.0, 1.0, -1.0, -1.0]) + 0.4
    return made


def test_axes_tell_what_differs_beyond_difficulty_in_standard_deviations() -> None:
    some = boards(400)
    axes = PromptAxes.of(some, 3)
    assert axes.n == 1, "the rest is the same for all models"
    read = np.array([axes.at(board) for board in some])
    assert read.mean() == pytest.approx(0.0, abs=0.02)
    assert read.std() == pytest.approx(1.0, abs=0.02)
    assert axes.at(some[0] + 5.0) == pytest.approx(axes.at(some[0]))
    assert abs(axes.at(some[0] + np.array([9.0, 9.0, -9.0, -9.0]))[0]) == 4.0, "not farther"


def test_axes_need_enough_prompts_and_few_models() -> None:
    assert PromptAxes.of(boards(99), 3).n == 0
    assert PromptAxes.of(boards(100), 41).n == 0
    assert PromptAxes.of(np.zeros((200, 4)), 3).n == 0
    assert PromptAxes.none(4).at(np.zeros(4)).size == 0


@pytest.mark.parametrize("odd", [np.nan, np.inf, -1e300])
def test_one_damaged_leaderboard_spoils_no_axis(odd: float) -> None:
    some = boards(400)
    some[7, 2] = odd
    axes = PromptAxes.of(some, 3)
    read = np.array([axes.at(board) for board in some])
    assert np.isfinite(read).all()
    sound = np.array([PromptAxes.of(boards(400), 3).at(board) for board in boards(400)])
    rest = np.delete(np.arange(400), 7)
    agreed = np.abs(np.corrcoef(read[rest, -1], sound[rest, 0])[0, 1])
    assert agreed > 0.95


def test_axes_are_read_of_the_deviations_and_trust_scales_all() -> None:
    axes = PromptAxes(np.array([[1.0], [0.0], [0.0]]), np.array([0.5]))
    reader = TermReader(np.zeros(3), {"a": 0}, axes)
    terms = reader.read(np.array([1.0, 0.5, 0.0]))
    assert terms.axes == pytest.approx([0.5])
    half = terms.scaled(0.5)
    assert (half.difficulty, half.deviation["a"]) == pytest.approx((0.25, 0.25))
    assert half.axes == pytest.approx([0.25])
    assert PromptTerms().difficulty == 0.0


def test_a_model_finds_its_column_in_another_spelling() -> None:
    known = ("gpt-5-low", "gpt-5-high", "claude-opus-4-5", "Llama-3.1-8B-Instruct")
    wanted = ["gpt-5-high", "openai/gpt-5", "anthropic/claude-opus-4.5", "llama3.1:8b", "new-model"]
    assert columns_of(wanted, known) == {
        "gpt-5-high": 1,
        "openai/gpt-5": 0,
        "anthropic/claude-opus-4.5": 2,
        "llama3.1:8b": 3,
    }
