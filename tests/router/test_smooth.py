"""The sum without a matrix equals the sum with one, to rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.smooth import N_NODES, _direct, expected_sigmoid


@given(st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 3.0]), st.booleans())
@settings(max_examples=25)
def test_equals_the_direct_sum(seed: int, spread: float, own: bool) -> None:
    chance = np.random.default_rng(seed)
    centres = spread * chance.normal(size=700)
    points = centres if own else spread * chance.normal(size=400)
    weights = chance.dirichlet(np.full(700, 0.3))
    found = expected_sigmoid(points, centres, weights)
    assert np.abs(found - _direct(points, centres, weights)).max() < 2e-15


def test_points_on_nodes_and_far_apart() -> None:
    """Ties, points exactly on a node or on an edge, and outliers that have a panel of their own."""
    nodes = np.cos((np.arange(N_NODES) + 0.5) * np.pi / N_NODES)
    points = np.concatenate([2 + 2 * nodes, np.zeros(300), np.full(3, 4.0), [-50.0, 60.0]])
    weights = np.full(points.size, 1 / points.size)
    found = expected_sigmoid(points, points, weights)
    assert np.abs(found - _direct(points, points, weights)).max() < 2e-15


@pytest.mark.parametrize("size", [3, 900])
def test_the_best_stays_the_best(size: int) -> None:
    points = np.random.default_rng(size).normal(size=size)
    rates = expected_sigmoid(points, points, np.full(size, 1 / size))
    assert int(rates.argmax()) == int(points.argmax())
    assert np.all((rates > 0) & (rates < 1))
