"""Simulated votes from known coefficients are recovered, the better the more votes there are."""

from __future__ import annotations

import numpy as np
import pytest

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.data.soft_labels import balanced, target_matrix
from p2l_model.fitting.answer_lengths import fit_lengths, log_lengths, refit_lengths
from p2l_model.fitting.linear import FitOptions, FitState, HeadFit, fit_heads
from p2l_model.preference import log_probabilities, outcomes
from p2l_model.types import Conversation, FloatArray, Outcome, PreferenceFamily

MODELS = ("a", "b", "c", "d")
# the family whose coefficients have an absolute zero that votes speak of (bothbad); in
# rk-reparam the level shows in the ties alone, so faintly that differences are judged
GROUNDED = (PreferenceFamily.GRK, PreferenceFamily.BA)
N_SEEDS = 8
GAMMA = 0.3


def simulate(
    family: PreferenceFamily, n_votes: int, seed: int = 0
) -> tuple[VoteTable, FloatArray, FloatArray]:
    """(votes, features (P, 2), true coefficients (P, M)): one vote per prompt."""
    chance = np.random.default_rng(seed)
    weight = np.array([[1.0, 0.5], [-1.0, 0.2], [0.3, -0.8], [0.0, 0.0]])
    features = chance.normal(size=(n_votes, 2))
    theta = features @ weight.T + np.array([0.5, 0.0, -0.5, 1.0])
    a = chance.integers(0, 4, n_votes)
    b = (a + chance.integers(1, 4, n_votes)) % 4
    rows = np.arange(n_votes)
    probabilities = np.exp(log_probabilities(family, theta[rows, a], theta[rows, b], 0.4, GAMMA))
    kinds = outcomes(family)
    drawn = (probabilities.cumsum(axis=1) < chance.random((n_votes, 1))).sum(axis=1)
    outcome = np.array([list(Outcome).index(kinds[min(k, len(kinds) - 1)]) for k in drawn])
    return _table(rows, a, b, outcome), features, theta


def _table(prompt: FloatArray, a: FloatArray, b: FloatArray, outcome: FloatArray) -> VoteTable:
    n = len(a)
    return VoteTable(
        conversations=tuple(Conversation((str(k),)) for k in range(int(prompt.max()) + 1)),
        models=MODELS,
        prompt=prompt,
        model_a=a,
        model_b=b,
        outcome=outcome,
        p_model_a=np.full(n, np.nan),
        weight=np.ones(n),
        source=np.array(["s"] * n),
        category=np.array([""] * n),
        output_tokens_a=np.full(n, np.nan),
        output_tokens_b=np.full(n, np.nan),
        score_a=np.full(n, np.nan),
        score_b=np.full(n, np.nan),
    )


def error(family: PreferenceFamily, n_votes: int) -> float:
    """Mean squared error of coefficient differences."""
    errors = []
    for seed in range(N_SEEDS):
        votes, features, theta = simulate(family, n_votes, seed)
        heads = fit_heads(features, votes, FitOptions(family, 1e-6, 1e-6))
        found = features @ heads.weight.T + heads.bias
        if family is PreferenceFamily.BA:  # what is identified is the height above gamma
            assert heads.gamma_weight is not None
            found = found - (features @ heads.gamma_weight + (heads.gamma_bias or 0.0))[:, None]
            theta = theta - GAMMA
        if family not in GROUNDED:  # the level is free
            found, theta = (t - t.mean(axis=1, keepdims=True) for t in (found, theta))
        errors.append(float(((found - theta) ** 2).mean()))
    return float(np.mean(errors))


@pytest.mark.slow
@pytest.mark.parametrize("family", list(PreferenceFamily))
def test_recovery_improves_at_the_right_rate(family: PreferenceFamily) -> None:
    small, large = error(family, 1500), error(family, 24000)
    assert large < 0.01
    # squared error falls like 1 / n: 16 times the votes, about a sixteenth of the error
    assert 8 < small / large < 32


@pytest.mark.slow
def test_the_tie_parameter_is_recovered() -> None:
    votes, features, _ = simulate(PreferenceFamily.GRK, 24000)
    heads = fit_heads(features, votes, FitOptions(PreferenceFamily.GRK, 1e-6, 1e-6))
    assert heads.eta_bias == pytest.approx(0.4, abs=0.1)
    assert np.abs(heads.eta_weight).max() < 0.1


@pytest.mark.slow
def test_a_fit_that_was_stopped_goes_on_to_the_same_result() -> None:
    votes, features, _ = simulate(PreferenceFamily.GRK, 800)
    options = FitOptions(PreferenceFamily.GRK, 1e-3, 1e-3, max_steps=100, tolerance=0.0)
    whole = HeadFit(features, votes, options)
    state = whole.start()
    whole.run(state, 100)
    first = HeadFit(features, votes, options)
    half = first.start()
    first.run(half, 40)
    stored = FitState(half.parameters.clone(), half.step, half.loss)
    second = HeadFit(features, votes, options)
    second.run(stored, 60)
    assert second.heads(stored).weight == pytest.approx(whole.heads(state).weight, abs=1e-12)


def test_without_features_the_fit_is_the_marginal_leaderboard() -> None:
    votes, _, _ = simulate(PreferenceFamily.BT, 4000)
    empty = np.zeros((len(votes.conversations), 0))
    heads = fit_heads(empty, votes, FitOptions(PreferenceFamily.BT, 0.1, 0.1))
    wins = target_matrix(PreferenceFamily.BT, votes)[:, 0]
    expected = np.zeros(4)
    predicted = np.zeros(4)
    p = 1 / (1 + np.exp(heads.bias[votes.model_b] - heads.bias[votes.model_a]))
    np.add.at(expected, votes.model_a, wins)
    np.add.at(predicted, votes.model_a, p)
    np.add.at(expected, votes.model_b, 1 - wins)
    np.add.at(predicted, votes.model_b, 1 - p)
    # the maximum likelihood's moment condition: as many wins as predicted, per model
    assert predicted == pytest.approx(expected, abs=0.5)


def test_balance_makes_prompts_count_alike() -> None:
    votes = _table(np.array([0, 0, 0, 1]), np.zeros(4, int), np.ones(4, int), np.zeros(4, int))
    weight = balanced(votes, 1.0).weight
    assert weight[:3].sum() == pytest.approx(weight[3])
    assert balanced(votes, 0.0).weight.tolist() == [1, 1, 1, 1]


def test_lengths_are_recovered() -> None:
    votes, features, _ = simulate(PreferenceFamily.BT, 4000)
    chance = np.random.default_rng(1)
    logs = 5 + 0.5 * features[votes.prompt, 0] + 0.3 * chance.normal(size=len(votes))
    # frozen, but its arrays are ours
    votes.output_tokens_a[:] = np.exp(logs)
    plain = Heads(np.zeros((4, 2)), np.zeros(4))
    model = fit_lengths(features, log_lengths(votes), 1e-4, plain)
    assert model is not None
    assert model.heads.length_weight is not None
    assert model.heads.length_weight[:, 0] == pytest.approx(0.5, abs=0.05)
    assert model.heads.length_bias == pytest.approx(5.0, abs=0.05)
    assert [s == pytest.approx(0.3, abs=0.03) for s in model.sigma] == [True] * 4


def test_runaway_answers_count_in_the_expected_length() -> None:
    """One answer in twenty of model 0 never ends: its logarithm's spread tells little of that."""
    votes, features, _ = simulate(PreferenceFamily.BT, 4000)
    chance = np.random.default_rng(1)
    logs = 5 + 0.5 * features[votes.prompt, 0] + 0.3 * chance.normal(size=len(votes))
    runaway = (votes.model_a == 0) & (chance.random(len(votes)) < 0.05)
    votes.output_tokens_a[:] = np.where(runaway, 8000.0, np.exp(logs))
    known = log_lengths(votes)
    model = refit_lengths(features, known, Heads(np.zeros((4, 2)), np.zeros(4)))
    assert model is not None
    mu, sigma = model.heads.log_tokens(features), model.sigma[0]
    assert mu is not None
    assert sigma is not None
    rows = ~np.isnan(known[:, 0])
    expected = np.exp(mu[rows, 0] + sigma**2 / 2).mean()
    assert expected == pytest.approx(np.exp(known[rows, 0]).mean(), rel=0.02)
    assert model.sigma[1] == pytest.approx(0.3, abs=0.03)
