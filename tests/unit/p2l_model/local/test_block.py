from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local import prior
from p2l_model.local.block import Block


def made(*, has_heads: bool) -> Block:
    """Two models; each has a head of two numbers, which a block without heads leaves out."""
    parts = prior.components(2)[-2:] if has_heads else prior.components()[:2]
    block = Block.first(parts, has_heads=has_heads)
    for m, at in enumerate((4, 7)):
        block.grow(np.arange(at, at + 3) if has_heads else np.array([at]))
        uncertain = np.array([[0.4, 0.1], [0.1, 0.4]])[: m + 1, : m + 1]
        block.join(uncertain, np.array([4, 7])[: m + 1], np.arange(at + 1, at + 3))
    return block


@pytest.mark.parametrize("has_heads", [False, True])
def test_models_that_join_bring_the_prior(has_heads: bool) -> None:
    block = made(has_heads=has_heads)
    block.grow(np.array([10, 11]))
    block.source(np.array([10, 11]))
    mean, covariance = block.prior(
        np.array([[0.4, 0.1], [0.1, 0.4]]),
        np.array([4, 7]),
        np.array([5, 6, 8, 9]),
        np.array([[10, 11]]),
    )
    assert block.mean == pytest.approx(mean)
    assert block.covariance == pytest.approx(covariance)
    assert block.numbers.tolist() == ([*range(12)] if has_heads else [0, 1, 2, 3, 4, 7, 10, 11])


@pytest.mark.parametrize("has_heads", [False, True])
def test_fading_mixes_precisions_and_leaves_what_is_certain(has_heads: bool) -> None:
    block = made(has_heads=has_heads)
    goal = block.copy()
    chance = np.random.default_rng(1)
    for k in range(2):
        told = np.where(np.diag(goal.covariance[k]) > 0, chance.normal(size=block.mean.shape[1]), 0)
        across = goal.covariance[k] @ told
        block.covariance[k] -= np.outer(across, across) / (1.0 + told @ across)
        block.mean[k] += 0.7 * across
    before = block.copy()
    block.fade(0.6, goal.mean, goal.covariance)
    for k in range(2):
        live = np.flatnonzero(np.diag(goal.covariance[k]) > 0)
        now, first = (
            np.linalg.inv(one.covariance[k][np.ix_(live, live)]) for one in (before, goal)
        )
        faded = np.linalg.inv(0.6 * now + 0.4 * first)
        mean = faded @ (0.6 * now @ before.mean[k][live] + 0.4 * first @ goal.mean[k][live])
        assert block.covariance[k][np.ix_(live, live)] == pytest.approx(faded)
        assert block.mean[k][live] == pytest.approx(mean)
    certain = np.diagonal(goal.covariance, axis1=1, axis2=2) == 0.0
    assert np.array_equal(np.diagonal(block.covariance, axis1=1, axis2=2) == 0.0, certain)
    assert np.array_equal(block.mean[certain], goal.mean[certain])


def test_a_copy_changes_by_itself() -> None:
    block = made(has_heads=False)
    other = block.copy()
    other.mean += 1.0
    other.covariance += 1.0
    other.grow(np.array([20]))
    assert block.mean.shape == (2, 6)
    assert not np.any(block.covariance == other.covariance[:, :6, :6])
