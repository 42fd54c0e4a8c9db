from __future__ import annotations

import numpy as np
import pytest

from p2l_model.placement.kernel import PARTS, Calendar, Item, covariance, table
from p2l_model.placement.process import Fitted, Observation, Strengths, _Problem, combined, fit

YEARS = np.linspace(2023, 2026, 24)
ITEMS = [
    Item(f"gpt-{4 + i % 3}.{i}", "low" if i % 2 else "high", float(y)) for i, y in enumerate(YEARS)
]
SCALES = dict.fromkeys(PARTS, 0.0) | {"level": 0.3, "trend": 0.6, "effort": 0.5, "own": 0.2}


def drawn(seed: int) -> tuple[np.ndarray, list[Observation]]:
    """True strengths, and what two sources with levels and slopes of their own say of them."""
    chance = np.random.default_rng(seed)
    rows = table(ITEMS, Calendar(ITEMS))
    truth = chance.multivariate_normal(np.zeros(len(ITEMS)), covariance(rows, rows, SCALES))
    seen = [
        Observation(source, i, level + slope * truth[i] + 0.1 * chance.normal(), 0.01)
        for source, level, slope in (("one", 2.0, 1.0), ("two", -1.0, 0.7))
        for i in range(len(ITEMS))
    ]
    return truth, seen


def test_the_gradient_is_that_of_the_likelihood() -> None:
    _, seen = drawn(3)
    problem = _Problem(ITEMS, seen, PARTS)
    point = problem.start() + 0.1 * np.random.default_rng(0).normal(size=problem.start().size)
    _, gradient = problem.loss(point)
    for at in range(point.size):
        step = np.zeros_like(point)
        step[at] = 1e-5
        slope = (problem.loss(point + step)[0] - problem.loss(point - step)[0]) / 2e-5
        assert gradient[at] == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_levels_and_slopes_of_sources_are_found() -> None:
    _, seen = drawn(4)
    fitted = fit(ITEMS, seen)
    assert fitted.level["one"] - fitted.level["two"] > 1.5
    assert fitted.slope["one"] / fitted.slope["two"] == pytest.approx(1 / 0.7, rel=0.1)
    only = fit(ITEMS, seen, ("level", "own"))
    assert only.scales["trend"] == 0.0


def test_what_sources_say_is_weighed_by_their_precision() -> None:
    fitted = Fitted(SCALES, {"a": 1.0, "b": 0.0}, {"a": 2.0, "b": 1.0}, {"a": 0.0, "b": 0.0})
    found = combined([Observation("a", 7, 5.0, 4.0), Observation("b", 7, 4.0, 3.0)], fitted)
    assert found == {7: (pytest.approx((2.0 * 1 + 4.0 / 3) / (1 + 1 / 3)), pytest.approx(0.75))}


def test_a_model_left_out_is_placed_within_its_interval() -> None:
    covered, n = 0, 0
    for seed in range(20):
        truth, _ = drawn(seed)
        left = np.arange(len(ITEMS)) % 4 == 0
        known = [item for item, out in zip(ITEMS, left, strict=True) if not out]
        strengths = Strengths(known, truth[~left], np.full((~left).sum(), 1e-3), SCALES)
        mean, spread = strengths.of([item for item, out in zip(ITEMS, left, strict=True) if out])
        covered += int((np.abs(truth[left] - mean) <= 1.2816 * np.sqrt(np.diag(spread))).sum())
        n += int(left.sum())
    assert 0.7 < covered / n < 0.9
