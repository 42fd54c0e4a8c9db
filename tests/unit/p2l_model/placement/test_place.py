from __future__ import annotations

from datetime import date

import pytest

from p2l_model.placement.place import bundled_placer

TODAY = (
    "gpt-6.1-sol", "gpt-6-luna", "gpt-5.6-terra", "claude-opus-5-5", "claude-sonnet-5-5",
    "claude-haiku-5-5", "gemini-3.8-flash", "gemini-3.1-pro-preview", "grok-4.7", "deepseek-v4-pro",
    "deepseek-v4-flash", "kimi-k3.1-pro", "mistral-large-4", "glm-5.3", "qwen3.8-max",
)  # fmt: skip


@pytest.mark.parametrize("name", TODAY)
def test_the_models_of_today_are_placed_above_those_of_2024(name: str) -> None:
    placer = bundled_placer()
    assert placer.place(name).mean > placer.place("gpt-4o-2024-05-13").mean


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("gemini-2.5-pro", "gpt-4-1106-preview"),
        ("gpt-4-1106-preview", "llama-7b"),
        ("claude-opus-5-5", "claude-haiku-5-5"),
        ("gpt-5.6-sol", "gpt-5.6-luna"),
        ("deepseek-v4-pro", "deepseek-v4-flash"),
        ("gpt-5-high", "gpt-5-minimal"),
        ("qwen2.5-72b-instruct", "qwen2.5-7b-instruct"),
    ],
)
def test_orders_that_everybody_knows_hold(better: str, worse: str) -> None:
    placer = bundled_placer()
    assert placer.place(better).mean > placer.place(worse).mean


def test_any_name_has_a_place_and_less_is_known_of_it() -> None:
    placer = bundled_placer()
    known, unknown = placer.place("gpt-5.5"), placer.place("our-own-finetune")
    assert known.sd < 0.3 < 1.0 < unknown.sd
    assert "12 published results" in known.basis
    assert unknown.basis == "no published result; nothing but the mean of all models"


def test_what_is_told_of_an_unknown_model_counts() -> None:
    placer = bundled_placer()
    old = placer.place("gpt-7-nova", released=date(2024, 1, 1))
    new = placer.place("gpt-7-nova", released=date(2026, 11, 1))
    assert new.mean > old.mean + 1
    assert "date" in new.clues
    assert "price" in placer.place("gpt-7-nova", price=(1.0, 4.0)).clues


def test_an_effort_that_was_not_published_lies_between_those_that_were() -> None:
    placer = bundled_placer()
    low, medium, high = (placer.place("gpt-5.2", effort) for effort in ("none", "minimal", "high"))
    assert low.mean < medium.mean < high.mean
    assert "at other efforts" in medium.basis
