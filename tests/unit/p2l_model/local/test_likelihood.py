from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local import likelihood
from p2l_model.local.likelihood import Verdict
from p2l_model.preference import log_probabilities, outcomes
from p2l_model.types import Outcome, PreferenceFamily

GRK = PreferenceFamily.GRK


def log_likelihood(outcome: Outcome, a: float, b: float, eta: float) -> float:
    """By the formulas that are tested elsewhere."""
    at = outcomes(GRK).index(outcome)
    return float(log_probabilities(GRK, np.array([a]), np.array([b]), np.array([eta]))[0, at])


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize(("a", "b", "eta"), [(0.3, -0.8, 0.5), (2.0, 1.5, -1.0), (-3.0, 2.0, 1.0)])
def test_the_mode_of_a_vote_is_where_the_posterior_is_highest(
    outcome: Outcome, a: float, b: float, eta: float
) -> None:
    mean, spread = np.array([[a, b]]), np.array([[[0.6, 0.2], [0.2, 0.9]]])
    found = likelihood.vote(mean, spread, Verdict.of(outcome, eta))
    value, gradient, information = found.value, found.gradient, found.information
    inverse = np.linalg.inv(spread[0])

    def posterior(x: np.ndarray) -> float:
        apart = x - mean[0]
        return log_likelihood(outcome, x[0], x[1], eta) - 0.5 * float(apart @ inverse @ apart)

    best = posterior(value[0])
    for step in np.random.default_rng(0).normal(scale=0.05, size=(40, 2)):
        assert posterior(value[0] + step) <= best + 1e-4
    assert np.linalg.eigvalsh(information[0]).min() > 0
    assert mean[0] + spread[0] @ gradient[0] == pytest.approx(value[0], abs=0.01)


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_the_mode_of_a_grade_is_where_the_posterior_is_highest(score: float) -> None:
    mean, variance, dispersion = np.array([0.4]), np.array([1.5]), 0.3
    value, information = likelihood.grade(mean, variance, score, dispersion)

    def posterior(x: float) -> float:
        loss = np.logaddexp(0.0, x) - score * x
        return -loss / dispersion - 0.5 * (x - 0.4) ** 2 / 1.5

    grid = np.linspace(-8, 8, 4001)
    assert value[0] == pytest.approx(grid[np.argmax([posterior(x) for x in grid])], abs=0.01)
    assert information[0] > 0


def test_a_win_lifts_the_winner_and_sinks_the_loser() -> None:
    mean, spread = np.zeros((1, 2)), np.eye(2)[None]
    value = likelihood.vote(mean, spread, Verdict.of(Outcome.MODEL_A, 0.0)).value
    assert value[0, 0] > 0 > value[0, 1]
    good = likelihood.vote(mean, spread, Verdict.of(Outcome.TIE, 0.0)).value
    bad = likelihood.vote(mean, spread, Verdict.of(Outcome.TIE_BOTHBAD, 0.0)).value
    assert good[0].min() > 0 > bad[0].max()


@pytest.mark.parametrize("family", list(PreferenceFamily))
@pytest.mark.parametrize("eta", [-2.0, 0.4])
def test_the_slopes_of_every_family_are_those_of_its_log_probabilities(
    family: PreferenceFamily, eta: float
) -> None:
    """Where a vote moves values without spread nothing, its gradient is the likelihood's."""
    at, step = np.array([0.7, -0.4]), 1e-5
    targets = np.random.default_rng(0).dirichlet(np.ones(len(outcomes(family))))
    found = likelihood.vote(
        at[None], np.zeros((1, 2, 2)), Verdict(targets, family, eta, 0.2, weight=1.5)
    )

    def logs(x: np.ndarray) -> np.ndarray:
        return log_probabilities(family, x[0], x[1], eta, 0.2)

    moves = step * np.eye(2)
    slope = np.array([(logs(at + move) - logs(at - move)) / (2 * step) for move in moves])
    assert found.value[0] == pytest.approx(at)
    assert found.logs[0] == pytest.approx(logs(at))
    assert found.gradient[0] == pytest.approx(1.5 * slope @ targets, abs=1e-6)
    fisher = 1.5 * (slope * np.exp(logs(at))) @ slope.T
    assert found.information[0] == pytest.approx(fisher, abs=1e-6)


def test_far_away_values_stay_finite() -> None:
    for outcome in Outcome:
        for far, eta in ((60.0, 3.0), (1e6, 0.0), (60.0, 1e300)):
            mean, spread = np.array([[far, -far]]), 4 * np.eye(2)[None]
            found = likelihood.vote(mean, spread, Verdict.of(outcome, eta))
            assert np.isfinite(found.value).all()
            assert np.isfinite(found.information).all()
            assert np.isfinite(likelihood.evidence(found, spread, Verdict.of(outcome, eta))).all()


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_evidence_of_a_vote_is_its_probability_over_what_was_believed(
    outcome: Outcome,
) -> None:
    mean, spread = np.array([[0.3, -0.4]]), np.array([[[0.5, 0.1], [0.1, 0.3]]])
    verdict = Verdict.of(outcome, 0.2)
    drawn = np.random.default_rng(0).multivariate_normal(mean[0], spread[0], 200_000)
    logs = log_probabilities(GRK, drawn[:, 0], drawn[:, 1], 0.2)
    expected = np.log(np.exp(logs[:, outcomes(GRK).index(outcome)]).mean())
    found = likelihood.evidence(likelihood.vote(mean, spread, verdict), spread, verdict)
    assert found[0] == pytest.approx(expected, abs=0.06)
