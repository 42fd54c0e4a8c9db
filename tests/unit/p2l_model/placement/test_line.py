from __future__ import annotations

import pytest

from p2l_model.placement.line import fit_line
from p2l_model.placement.place import bundled_placer

NAMES = ("gpt-4o-2024-05-13", "claude-opus-4-5", "gemini-2.5-pro", "llama-3.1-8b", "gpt-5-high",
         "qwen2.5-72b", "mixtral-8x7b-instruct-v0.1", "deepseek-v3", "claude-3-haiku-20240307",
         "gpt-3.5-turbo-0125", "grok-4", "o3-mini-high", "llama-3-70b", "phi-4", "gemma-2-9b-it",
         "mistral-large-2407", "kimi-k2", "glm-4.5", "o1-preview", "command-r-plus")  # fmt: skip


def test_the_scale_of_a_leaderboard_is_found() -> None:
    placer = bundled_placer()
    coefficients = [3.0 + 2.0 * placer.place(name).mean for name in NAMES]
    line = fit_line(NAMES, coefficients, placer)
    assert line.slope == pytest.approx(2.0, abs=0.35)
    assert line.intercept == pytest.approx(3.0, abs=0.35)
    assert line.spread < 0.6
    mean, sd = line.coefficient(placer.place("gpt-5.5"))
    assert mean == pytest.approx(3.0 + 2.0 * placer.place("gpt-5.5").mean, abs=1.0)
    assert sd > line.spread


def test_few_models_leave_the_slope_near_one_and_none_give_the_prior() -> None:
    placer = bundled_placer()
    two = fit_line(NAMES[:2], [0.0, 30.0], placer)
    assert 1.0 < two.slope < 10.0
    assert fit_line((), (), placer).slope == 1.0


def test_a_leaderboard_upside_down_does_not_turn_places_round() -> None:
    placer = bundled_placer()
    line = fit_line(NAMES, [-5.0 * placer.place(name).mean for name in NAMES], placer)
    assert line.slope > 0
