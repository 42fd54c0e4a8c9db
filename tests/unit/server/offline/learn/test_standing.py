"""Means with intervals, and when nothing more need be bought."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server.offline.learn.standing import MIN_PROMPTS, radius, settled, standing


def test_means_and_intervals() -> None:
    found = standing("m", [1.0, 0.0, 1.0, 1.0] * 25)
    assert found.score == 0.75
    assert found.ci95[0] == pytest.approx(0.75 - 1.96 * math.sqrt(0.75 * 0.25 / 100), abs=0.02)
    assert found.ci95[1] == pytest.approx(0.75 + 1.96 * math.sqrt(0.75 * 0.25 / 100), abs=0.02)


def test_equal_scores_are_no_certainty() -> None:
    assert standing("m", [1.0] * 10).ci95 == pytest.approx((0.722, 1.0), abs=0.001)
    assert standing("m", [0.0] * 10).ci95[1] == pytest.approx(0.278, abs=0.001)


def scores(**rates: float) -> dict[str, dict[str, float]]:
    chance = np.random.default_rng(0)
    return {m: {str(i): float(chance.random() < p) for i in range(100)} for m, p in rates.items()}


def test_a_place_far_from_all_others_is_settled() -> None:
    found = settled(scores(best=0.95, near=0.9, worst=0.1))
    assert found == {"worst"}


def test_few_prompts_settle_nothing() -> None:
    few = {model: {str(i): value for i in range(MIN_PROMPTS - 1)} for model, value in
           (("a", 1.0), ("b", 0.0))}  # fmt: skip
    assert settled(few) == frozenset()
    few["a"]["x"], few["b"]["x"] = 1.0, 0.0
    assert settled(few) == {"a", "b"}
    assert settled({}) == settled({"a": {"x": 1.0}}) == frozenset()


@pytest.mark.slow
def test_looking_after_each_prompt_misleads_no_more_often_than_told() -> None:
    chance = np.random.default_rng(1)
    wrong = 0
    for _ in range(300):
        difference = chance.integers(0, 2, 400) - chance.integers(0, 2, 400)
        wrong += any(
            abs(difference[:n].mean()) > radius(difference[:n].astype(float), 0.05)
            for n in range(MIN_PROMPTS, 400)
        )
    assert wrong / 300 <= 0.07
