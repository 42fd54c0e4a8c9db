from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local.differences import correlation, covariance, most_probable


def test_a_model_of_which_the_same_is_always_said_correlates_with_no_other() -> None:
    values = np.random.default_rng(0).normal(size=(400, 3))
    values[:, 1] = -2.0 * values[:, 0]
    values[:, 2] = 7.0
    expected = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert correlation(values) == pytest.approx(expected)
    assert correlation(np.zeros((1, 2))) == pytest.approx(np.eye(2))


def test_half_of_the_differences_lie_along_those_of_prompts() -> None:
    together = np.array([[1.0, 0.8], [0.8, 1.0]])
    assert covariance(0.5, together) == pytest.approx(0.25 * np.array([[1.0, 0.4], [0.4, 1.0]]))
    assert not covariance(0.0, together).any()


@pytest.mark.parametrize("planted", [0.0, 0.5, 1.0, 2.0])
def test_the_planted_spread_is_found(planted: float) -> None:
    """200 groups, each seen once with a noise of 0.5."""
    seen = np.hypot(planted, 0.5) * np.random.default_rng(1).normal(size=200)

    def evidence(tau: float) -> float:
        variance = tau**2 + 0.25
        return float((-0.5 * seen**2 / variance - 0.5 * np.log(variance)).sum())

    assert most_probable(evidence) == planted


def test_what_may_be_chance_is_no_difference() -> None:
    assert most_probable(lambda tau: 1.9 * (tau == 1.0)) == 0.0
    assert most_probable(lambda tau: 2.1 * (tau == 1.0)) == 1.0
