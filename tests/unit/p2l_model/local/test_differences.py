from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local.differences import Differences, correlation, most_probable


def test_a_model_of_which_the_same_is_always_said_correlates_with_no_other() -> None:
    values = np.random.default_rng(0).normal(size=(400, 3))
    values[:, 1] = -2.0 * values[:, 0]
    values[:, 2] = 7.0
    expected = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert correlation(values) == pytest.approx(expected)
    assert correlation(np.zeros((1, 2))) == pytest.approx(np.eye(2))


def test_a_part_of_the_differences_lies_along_those_of_prompts() -> None:
    together = np.array([[1.0, 0.8], [0.8, 1.0]])
    found = Differences(0.5, 0.5).covariance(together)
    assert found == pytest.approx(0.25 * np.array([[1.0, 0.4], [0.4, 1.0]]))
    assert Differences(2.0, 0.0).covariance(together) == pytest.approx(4.0 * np.eye(2))
    assert not Differences().covariance(together).any()


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_planted_differences_are_found(tau: float, rho: float) -> None:
    """300 groups of two models, each seen once with a noise of 0.2."""
    together = np.array([[1.0, 0.95], [0.95, 1.0]])
    noise = 0.04 * np.eye(2)
    planted = Differences(tau, rho)
    seen = np.random.default_rng(1).multivariate_normal(
        np.zeros(2), planted.covariance(together) + noise, 300
    )

    def evidence(tried: Differences) -> float:
        covariance = tried.covariance(together) + noise
        fit = np.einsum("ni,ij,nj->", seen, np.linalg.inv(covariance), seen)
        return float(-0.5 * fit - 150 * np.linalg.slogdet(covariance)[1])

    assert most_probable(evidence) == planted


def test_where_groups_do_not_differ_none_is_found() -> None:
    seen = 0.5 * np.random.default_rng(1).normal(size=200)

    def evidence(tried: Differences) -> float:
        variance = tried.tau**2 + 0.25
        return float((-0.5 * seen**2 / variance - 0.5 * np.log(variance)).sum())

    assert most_probable(evidence).tau == 0.0


def test_what_may_be_chance_is_no_difference() -> None:
    assert most_probable(lambda tried: 1.9 * (tried.tau == 1.0)).tau == 0.0
    assert most_probable(lambda tried: 2.1 * (tried.tau == 1.0)).tau == 1.0


@pytest.mark.parametrize(("tau", "n"), [(0.0, 4), (0.25, 6), (0.5, 6), (1.0, 6), (2.0, 6)])
def test_no_more_is_tried_than_finds_the_best(tau: float, n: int) -> None:
    """To try one costs as much as to learn all the answers by which groups are compared."""
    tried: list[Differences] = []

    def evidence(one: Differences) -> float:
        tried.append(one)
        return -100.0 * abs(one.tau - tau)

    assert most_probable(evidence).tau == tau
    assert (len(tried), len(set(tried))) == (n, n)
