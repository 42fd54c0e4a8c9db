"""Bounds that hold at every time: their coverage, their width, and what a trial makes of them."""

from __future__ import annotations

import random

import pytest

from server.trials.sequences import mean_bounds
from server.trials.standing import standing


@pytest.mark.parametrize("mean", [0.1, 0.5, 0.8])
@pytest.mark.slow
def test_the_bounds_hold_at_all_times_together(mean: float) -> None:
    """In at most 10% of the runs is the mean ever outside; the bounds of all earlier times are
    intersected, so that the last ones tell."""
    wrong = 0
    for seed in range(200):
        rng = random.Random(seed)
        values = [float(rng.random() < mean) for _ in range(1_000)]
        bounds = mean_bounds(values, 0.1)
        wrong += not bounds.low <= mean <= bounds.high
    assert wrong <= 20 + 3 * 4.3  # three deviations above one in ten


def test_they_close_in_on_the_mean() -> None:
    rng = random.Random(1)
    values = [min(1.0, max(0.0, rng.gauss(0.7, 0.1))) for _ in range(2_000)]
    early, late = mean_bounds(values[:50], 0.05), mean_bounds(values, 0.05)
    assert early.low < late.low < 0.7 < late.high < early.high
    assert late.high - late.low < 0.05, "a small spread makes narrow bounds"


def test_without_an_observation_everything_is_possible() -> None:
    none = mean_bounds([], 0.05)
    assert (none.n, none.low, none.high) == (0, 0.0, 1.0)
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        mean_bounds([1.5], 0.05)


def ratings(new: float, usual: float, n: int, seed: int = 0) -> list[tuple[bool, float]]:
    rng = random.Random(seed)
    found = []
    for _ in range(n):
        is_new = rng.random() < 0.3
        found.append((is_new, float(rng.random() < (new if is_new else usual))))
    return found


@pytest.mark.parametrize(
    ("new", "usual", "n", "verdict"),
    [
        (0.4, 0.9, 10, "open"),
        (0.4, 0.9, 400, "worse"),
        (0.85, 0.8, 6_000, "good enough"),
        (0.8, 0.85, 400, "open"),
    ],
)
def test_a_trial_ends_when_it_is_certain(new: float, usual: float, n: int, verdict: str) -> None:
    found = standing(ratings(new, usual, n), allowed_loss=0.05, confidence=0.95)
    assert found.verdict == verdict
    assert found.low <= new - usual <= found.high
    assert found.new.n + found.usual.n == n


@pytest.mark.slow
def test_equal_models_are_hardly_ever_stopped() -> None:
    stopped = sum(
        standing(ratings(0.7, 0.7, 1_000, seed), allowed_loss=0.0, confidence=0.95).verdict
        == "worse"
        for seed in range(200)
    )
    assert stopped <= 10
