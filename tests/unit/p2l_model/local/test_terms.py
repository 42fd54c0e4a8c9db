from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local.terms import PromptTerms, TermReader, columns_of


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


def test_axes_are_read_of_the_deviations_and_trust_scales_all() -> None:
    axes = np.array([[1.0], [0.0], [0.0]])
    reader = TermReader(np.zeros(3), {"a": 0}, axes)
    terms = reader.read(np.array([1.0, 0.5, 0.0]))
    assert reader.n_axes == 1
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
