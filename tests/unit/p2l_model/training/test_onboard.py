"""Day-zero models: the posterior nears the truth, its variance is honest, nothing else moves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import MODELS, write_checkpoint
from toy_votes import quiet, write_votes

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import load_votes
from p2l_model.engine.load import load_engine
from p2l_model.errors import DataError
from p2l_model.preference import log_probabilities, outcomes
from p2l_model.training.onboard import Battles, Prior, fit_row, onboard, row_prior
from p2l_model.types import Conversation, FloatArray, PreferenceFamily
from server.cli import main

WIDTH = 6


def world(seed: int) -> tuple[Heads, FloatArray]:
    """Heads of 40 models, and one more row from the same distribution."""
    chance = np.random.default_rng(seed)
    mixing = chance.normal(size=(WIDTH + 1, WIDTH + 1)) / 2
    rows = chance.normal(size=(41, WIDTH + 1)) @ mixing
    return Heads(rows[:-1, :-1], rows[:-1, -1], np.zeros(WIDTH), 0.3), rows[-1]


def fought(heads: Heads, row: FloatArray, n: int, seed: int) -> Battles:
    chance = np.random.default_rng([seed, n])
    x = np.column_stack([chance.normal(size=(n, WIDTH)), np.ones(n)])
    rivals = chance.integers(heads.n_models, size=n)
    opponent = (heads.weight[rivals] * x[:, :-1]).sum(axis=1) + heads.bias[rivals]
    eta = np.full(n, 0.3)
    logs = log_probabilities(PreferenceFamily.GRK, x @ row, opponent, eta)
    drawn = (chance.random((n, 1)) > np.exp(logs).cumsum(axis=1)).sum(axis=1)
    n_kinds = len(outcomes(PreferenceFamily.GRK))
    targets = np.eye(n_kinds)[np.minimum(drawn, n_kinds - 1)]
    return Battles(x, opponent, eta, np.zeros(n), targets, np.ones(n))


def test_the_row_comes_closer_and_the_variance_is_honest() -> None:
    errors: dict[int, list[float]] = {n: [] for n in (0, 20, 200, 2000)}
    spreads: dict[int, list[float]] = {n: [] for n in errors}
    standard: list[float] = []
    for seed in range(12):
        heads, row = world(seed)
        x = np.column_stack([np.random.default_rng(seed).normal(size=(300, WIDTH)), np.ones(300)])
        for n in errors:
            found = fit_row(PreferenceFamily.GRK, fought(heads, row, n, seed), row_prior(heads))
            error = x @ (found.mode - row)
            spread = np.sqrt(((x @ found.factor.T) ** 2).sum(axis=1))
            errors[n].append(float((error**2).mean()))
            spreads[n].append(float((spread**2).mean()))
            standard += list(error / spread) if n > 0 else []
    means = [float(np.mean(errors[n])) for n in errors]
    assert means == sorted(means, reverse=True)
    assert means[3] < 0.05 * means[0]
    widths = [float(np.mean(spreads[n])) for n in spreads]
    assert widths == sorted(widths, reverse=True)
    assert 0.7 < np.std(standard) < 1.3, "as far off as it says it may be"


def test_no_votes_leave_the_prior() -> None:
    heads, _ = world(0)
    prior = row_prior(heads)
    empty = Battles(np.zeros((0, WIDTH + 1)), *[np.zeros(0)] * 3, np.zeros((0, 4)), np.zeros(0))
    found = fit_row(PreferenceFamily.GRK, empty, prior)
    assert np.allclose(found.mode, prior.centre)
    assert np.allclose(found.factor.T @ found.factor, prior.basis.T @ prior.basis)


def test_like_centres_the_prior_and_narrows_it() -> None:
    heads, _ = world(1)
    like, anyone = row_prior(heads, 3), row_prior(heads)
    assert np.allclose(like.centre, np.append(heads.weight[3], heads.bias[3]))
    assert np.linalg.norm(like.basis) < np.linalg.norm(anyone.basis)


def test_one_sided_votes_stay_finite() -> None:
    prior = Prior(np.zeros(1), np.ones((1, 1)))
    n = 500
    always = np.tile([1.0, 0.0], (n, 1))
    battles = Battles(np.ones((n, 1)), *[np.zeros(n)] * 3, always, np.ones(n))
    found = fit_row(PreferenceFamily.BT, battles, prior)
    assert 1.0 < found.mode[0] < 10.0


@pytest.fixture
def votes_file(tmp_path: Path) -> Path:
    """delta beats alpha and beta on a's, loses on z's; answers of 300 tokens."""
    rows = [
        {"prompt": f"{letter} " * (1 + i % 7), "model_a": "delta", "model_b": rival,
         "winner": "model_a" if letter == "a" else "model_b",
         "output_tokens_a": 300, "output_tokens_b": 100}
        for i in range(60) for letter in "az" for rival in ("alpha", "beta", "stranger")
    ]  # fmt: skip
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_a_checkpoint_grows_by_one_row(tmp_path: Path, votes_file: Path) -> None:
    old = load_checkpoint(write_checkpoint(tmp_path / "old"))
    out = str(tmp_path / "new")
    arguments = ["onboard", "--checkpoint", str(old.path), "--model", "delta"]
    assert main([*arguments, "--data", str(votes_file), "--out", out]) == 0
    new = load_checkpoint(tmp_path / "new")
    assert new.manifest.models == [*MODELS, "delta"]
    assert new.manifest.onboarded["delta"].n_votes == 240, "the stranger's are left out"
    assert np.array_equal(old.heads.weight, new.heads.weight[:-1]), "the old ones stay"
    assert np.array_equal(old.heads.bias, new.heads.bias[:-1])
    boards = []
    for prompt in ("a a a", "z z z"):
        ids = [new.prompt.encode(Conversation((prompt,)))]
        features = load_engine(new).features(ids)[0]
        before, after = old.leaderboard(features), new.leaderboard(features)
        # a product with one row more may sum in another order
        assert before.coefficients == pytest.approx(after.coefficients[:-1], rel=1e-12)
        assert before.variance is None
        assert after.variance is not None
        assert np.all(after.variance[:-1] == 0)
        assert after.variance[-1] > 0
        boards.append(after)
    delta, rivals = (boards[0].coefficients[-1], boards[0].coefficients[:2])
    assert delta - rivals.mean() > boards[1].coefficients[-1] - boards[1].coefficients[:2].mean()
    tokens = boards[0].expected_output_tokens
    assert tokens is not None
    assert 100 < tokens[-1] < 900
    assert new.marginal.coefficients.shape == (4,)


def test_without_data_the_new_model_is_like_the_one_named(tmp_path: Path) -> None:
    old = load_checkpoint(write_checkpoint(tmp_path / "old"))
    onboard(old, load_engine(old), "delta", None, tmp_path / "new", lambda d, t: None, like="beta")
    new = load_checkpoint(tmp_path / "new")
    features = load_engine(new).features([new.prompt.encode(Conversation(("hello",)))])[0]
    coefficients = new.leaderboard(features).coefficients
    assert coefficients[3] == pytest.approx(coefficients[1], abs=1e-5)


def test_what_cannot_be_is_said(tmp_path: Path, votes_file: Path) -> None:
    quiet("", 0, 0)
    old = load_checkpoint(write_checkpoint(tmp_path / "old"))
    engine = load_engine(old)
    votes = load_votes([votes_file])
    out = tmp_path / "new"

    def refused(name: str, match: str, like: str | None = None) -> None:
        with pytest.raises(DataError, match=match):
            onboard(old, engine, name, votes, out, lambda d, t: None, like=like)

    refused("alpha", "already")
    refused("delta", "no such model", like="omega")
    refused("epsilon", "is it spelt so")
    others = load_votes([write_votes(tmp_path / "other.jsonl", 20, 1)])
    with pytest.raises(DataError, match="with a model of the checkpoint"):
        onboard(old, engine, "x", others, out, lambda d, t: None)
    assert not out.exists()
