"""Win rates, opponents, and the router's own coefficient."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import InvalidRoutingError
from router.objective import opponent_weights, router_coefficient, win_rates

coefficients = st.lists(st.floats(-700, 700), min_size=1, max_size=20)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


@given(coefficients)
def test_win_rates_are_the_average_of_sigmoids(thetas: list[float]) -> None:
    theta = np.array(thetas)
    q = np.full(theta.size, 1 / theta.size)
    rates = win_rates(theta, theta, q)
    for mine, rate in zip(thetas, rates, strict=True):
        expected = sum(sigmoid(mine - other) for other in thetas) / theta.size
        assert rate == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(0.001, 0.999))
def test_the_routers_coefficient_is_the_root(thetas: list[float], rate: float) -> None:
    theta = np.array(thetas)
    q = np.full(theta.size, 1 / theta.size)
    root = router_coefficient(rate, theta, q)
    assert sum(sigmoid(root - other) for other in thetas) / theta.size == pytest.approx(rate)


def test_a_pure_choice_has_its_own_coefficient() -> None:
    theta = np.array([0.3, -1.2, 2.0])
    q = np.array([0.2, 0.5, 0.3])
    for index, rate in enumerate(win_rates(theta, theta, q)):
        assert router_coefficient(float(rate), theta, q) == pytest.approx(theta[index])


def test_a_guess_that_is_the_root_is_returned_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    tanh = np.tanh

    def counted(x: object) -> object:
        nonlocal steps
        steps += 1
        return tanh(x)

    theta = np.random.default_rng(3).normal(size=60)
    q = np.full(theta.size, 1 / theta.size)
    rates = win_rates(theta, theta, q)
    monkeypatch.setattr(np, "tanh", counted)
    for mine, rate in zip(theta, rates, strict=True):
        root = router_coefficient(float(rate), theta, q, start=float(mine))
        assert root == pytest.approx(mine, abs=1e-12)
    assert steps <= 2 * theta.size


def test_extremes_are_infinite() -> None:
    assert router_coefficient(1.0, np.array([0.0]), np.array([1.0])) == math.inf
    assert router_coefficient(0.0, np.array([0.0]), np.array([1.0])) == -math.inf


def test_opponents() -> None:
    names, theta = ["a", "b", "c"], np.array([1.0, 2.0, np.nan])
    known, weights = opponent_weights(names, theta, None)
    assert known.tolist() == [1.0, 2.0]
    assert weights.tolist() == [0.5, 0.5]
    known, weights = opponent_weights(names, theta, {"b": 3.0, "a": 1.0, "unknown": 9.0})
    assert known.tolist() == [2.0, 1.0]
    assert weights.tolist() == [0.75, 0.25]
    for bad in ({"nobody": 1.0}, {"a": -1.0, "b": 2.0}, {"a": 0.0}, {"a": math.nan}):
        with pytest.raises(InvalidRoutingError):
            opponent_weights(names, theta, bad)


@pytest.mark.parametrize("size", [3, 900])
def test_the_best_stays_the_best(size: int) -> None:
    points = np.random.default_rng(size).normal(size=size)
    rates = win_rates(points, points, np.full(size, 1 / size))
    assert int(rates.argmax()) == int(points.argmax())
    assert np.all((rates > 0) & (rates < 1))
