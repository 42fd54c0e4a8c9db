"""Tastes: planted ones are found at the rate that votes allow, absent ones are not made up."""

from __future__ import annotations

import numpy as np
import pytest

from p2l_model.analysis.personal import (
    TastePrior,
    UserVotes,
    coefficient_correlation,
    fit_prior,
    log_losses,
    shrunk,
)
from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.errors import DataError
from p2l_model.preference import log_probabilities
from p2l_model.types import FloatArray, PreferenceFamily

M = 5
FAMILIES = list(PreferenceFamily)


def votes_of(
    family: PreferenceFamily, taste: FloatArray, eta: float, n: int, seed: int
) -> UserVotes:
    """n votes, one a prompt, of someone with the taste."""
    chance = np.random.default_rng(seed)
    base = 15.0 if family is PreferenceFamily.RK else 0.0
    board = np.linspace(-1, 1, M) + chance.normal(size=(n, M))
    a, b = np.array([chance.permutation(M)[:2] for _ in range(n)]).reshape(n, 2).T
    rows, zero = np.arange(n), np.zeros(n)
    logs = log_probabilities(
        family, board[rows, a] + taste[a], board[rows, b] + taste[b], base + eta + zero, zero
    )
    drawn = [chance.choice(logs.shape[1], p=p / p.sum()) for p in np.exp(logs)]
    target = np.eye(logs.shape[1])[np.array(drawn, dtype=np.int64)]
    return UserVotes(
        rows, a, b, board[rows, a], board[rows, b], base + zero, zero, target, zero + 1
    )


def correlation(seed: int = 0) -> FloatArray:
    board = np.random.default_rng(seed).normal(size=(50, M))
    return coefficient_correlation(HeadOutputs(board, np.zeros(50), np.zeros(50)))


@pytest.mark.parametrize("family", FAMILIES)
def test_planted_tastes_help_on_new_prompts(family: PreferenceFamily) -> None:
    chance = np.random.default_rng(3)
    tastes = chance.normal(size=(12, M))
    users = [votes_of(family, taste, 0.0, 60, seed) for seed, taste in enumerate(tastes)]
    prior = fit_prior(family, users, correlation())
    assert prior.tau > 0.4
    gains = []
    for seed, (taste, votes) in enumerate(zip(tastes, users, strict=True)):
        fresh = votes_of(family, taste, 0.0, 100, 100 + seed)
        none = prior.taste(votes.where(np.zeros(60, dtype=np.bool_)))
        assert np.allclose(none.shift, prior.common[:-1])
        found = prior.taste(votes)
        assert np.all(found.variance < none.variance)
        gains.append((log_losses(family, fresh, none) - log_losses(family, fresh, found)).mean())
    assert np.mean(gains) > 0.02


def test_where_people_do_not_differ_nothing_is_learnt() -> None:
    family = PreferenceFamily.GRK
    users = [votes_of(family, np.zeros(M), 0.0, 40, seed) for seed in range(15)]
    prior = fit_prior(family, users, correlation())
    assert prior.tau <= 0.2
    losses = [
        log_losses(family, votes_of(family, np.zeros(M), 0.0, 100, 50 + seed), prior.taste(votes))
        - log_losses(family, votes_of(family, np.zeros(M), 0.0, 100, 50 + seed), _nobody(family))
        for seed, votes in enumerate(users)
    ]
    assert np.mean(losses) < 0.003


def _nobody(family: PreferenceFamily) -> object:
    none = votes_of(family, np.zeros(M), 0.0, 1, 0).where(np.array([False]))
    return TastePrior(family, np.zeros((M, M)), 0.0, np.zeros(M + 1)).taste(none)


def test_what_is_common_is_no_taste() -> None:
    """The model is wrong for all alike: corrected for all, and for those who never voted."""
    family, wrong = PreferenceFamily.GRK, np.array([1.0, -1.0, 0.5, 0.0, -0.5])
    users = [votes_of(family, wrong, 0.5, 60, seed) for seed in range(12)]
    prior = fit_prior(family, users, correlation())
    np.testing.assert_allclose(prior.common[:-1], wrong, atol=0.3)
    assert prior.common[-1] == pytest.approx(0.5, abs=0.3)
    assert prior.tau <= 0.2
    fresh = votes_of(family, wrong, 0.5, 300, 99)
    none = prior.taste(fresh.where(np.zeros(300, dtype=np.bool_)))
    gain = log_losses(family, fresh, _nobody(family)) - log_losses(family, fresh, none)
    assert gain.mean() > 0.05


def test_more_votes_come_closer() -> None:
    taste = np.array([1.0, -1.0, 0.5, 0.0, -0.5])
    prior = TastePrior(PreferenceFamily.BT, np.eye(M), 0.0, np.zeros(M + 1))
    errors = []
    for n in (10, 100, 1000):
        found = prior.taste(votes_of(PreferenceFamily.BT, taste, 0.0, n, 7)).shift
        errors.append(float(np.abs((found - found.mean()) - (taste - taste.mean())).mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.15


def test_the_mode_is_a_mode() -> None:
    family = PreferenceFamily.GRK
    votes = votes_of(family, np.ones(M), 0.5, 30, 1)
    prior = TastePrior(family, 0.5 * np.eye(M) + 0.2, 0.3, np.zeros(M + 1))
    found = prior.taste(votes)
    at = np.append(found.shift, found.eta)
    inverse = np.linalg.inv(prior.covariance)

    def objective(x: FloatArray) -> float:
        moved = type(found)(x[:-1], float(x[-1]), found.variance, 0)
        fit = log_losses(family, votes, moved).sum()
        return float(fit + 0.5 * x[:-1] @ inverse @ x[:-1] + 0.5 * x[-1] ** 2 / 0.3)

    for direction in np.random.default_rng(0).normal(size=(20, M + 1)):
        assert objective(at) <= objective(at + 1e-3 * direction)


def test_one_user_is_too_few() -> None:
    with pytest.raises(DataError, match="two users"):
        fit_prior(
            PreferenceFamily.BT, [votes_of(PreferenceFamily.BT, np.zeros(M), 0, 9, 0)], np.eye(M)
        )


def test_shrinkage_is_estimated() -> None:
    """Against the truth: better than the raw and than the population's, at every spread."""
    chance = np.random.default_rng(0)
    for spread in (0.0, 0.3, 1.0):
        truth = spread * chance.normal(size=(200, M))
        n = chance.integers(2, 30, size=200)
        noise = 1.0 / n[:, None] * np.ones(M)
        raw = truth + np.sqrt(noise) * chance.normal(size=(200, M))
        names = [str(i) for i in range(200)]
        own, between = shrunk(
            dict(zip(names, raw, strict=True)), dict(zip(names, noise, strict=True)), np.zeros(M)
        )
        error = np.mean((np.array([own[name] for name in names]) - truth) ** 2)
        assert error < 0.9 * np.mean((raw - truth) ** 2)
        assert error <= np.mean(truth**2) + 0.01
        assert np.abs(np.sqrt(between) - spread).max() < 0.15
