"""Day-zero models: the posterior nears the truth, its variance is honest, nothing else moves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import MODELS, write_checkpoint
from toy_votes import quiet, write_votes

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.checkpoint.heads import HeadOutputs, Heads
from p2l_model.data.files import VoteTable, load_votes
from p2l_model.data.tables import read_columns
from p2l_model.engine.load import load_engine
from p2l_model.errors import DataError
from p2l_model.evaluation.local import graded_rows
from p2l_model.preference import log_probabilities
from p2l_model.training.onboard import (
    Answers,
    Row,
    View,
    fit_row,
    lone_grades,
    onboard,
    row_prior,
    view_of,
)
from p2l_model.types import Conversation, FloatArray, IntArray, PreferenceFamily
from server.cli import main

WIDTH, N_KNOWN = 6, 40
GRK = PreferenceFamily.GRK


def world(seed: int) -> tuple[Heads, FloatArray]:
    """Heads of 40 models, and one more row from the same distribution."""
    chance = np.random.default_rng(seed)
    mixing = chance.normal(size=(WIDTH + 1, WIDTH + 1)) / 2
    rows = chance.normal(size=(N_KNOWN + 1, WIDTH + 1)) @ mixing
    return Heads(rows[:-1, :-1], rows[:-1, -1], np.zeros(WIDTH), 0.3), rows[-1]


def fitted(votes: VoteTable, family: PreferenceFamily, view: View, prior: Row) -> Row:
    nothing = lone_grades("new", (), (), votes.models[:-1])
    return fit_row(Answers(votes, nothing), family, view, prior)


def table(rivals: IntArray, outcome: IntArray) -> VoteTable:
    """Votes of the new model, side a, on a prompt each."""
    n = len(rivals)
    empty, names = np.full(n, np.nan), tuple(f"m{k}" for k in range(N_KNOWN))
    return VoteTable(
        (Conversation(("hello",)),) * n, (*names, "new"), np.arange(n), np.full(n, N_KNOWN),
        rivals, outcome, empty, np.ones(n), np.full(n, ""), np.full(n, ""), *[empty] * 4,
    )  # fmt: skip


def fought(heads: Heads, row: FloatArray, n: int, seed: int) -> tuple[VoteTable, View]:
    chance = np.random.default_rng([seed, n])
    view = view_of(heads, chance.normal(size=(n, WIDTH)), 1.0)
    rivals = chance.integers(heads.n_models, size=n)
    opponent = view.known.coefficients[np.arange(n), rivals]
    logs = log_probabilities(GRK, view.x @ row, opponent, view.known.eta)
    drawn = (chance.random((n, 1)) > np.exp(logs).cumsum(axis=1)).sum(axis=1)
    return table(rivals, np.minimum(drawn, 3)), view


@pytest.mark.slow
def test_the_row_comes_closer_and_the_variance_is_honest() -> None:
    errors: dict[int, list[float]] = {n: [] for n in (0, 20, 150, 500)}
    spreads: dict[int, list[float]] = {n: [] for n in errors}
    standard: list[float] = []
    for seed in range(6):
        heads, row = world(seed)
        x = np.column_stack([np.random.default_rng(seed).normal(size=(300, WIDTH)), np.ones(300)])
        for n in errors:
            votes, view = fought(heads, row, n, seed)
            found = fitted(votes, GRK, view, row_prior(heads))
            error = x @ (found.mode - row)
            spread = np.sqrt(((x @ found.factor.T) ** 2).sum(axis=1))
            errors[n].append(float((error**2).mean()))
            spreads[n].append(float((spread**2).mean()))
            standard += list(error / spread) if n > 0 else []
    means = [float(np.mean(errors[n])) for n in errors]
    assert means == sorted(means, reverse=True)
    assert means[3] < 0.1 * means[0]
    widths = [float(np.mean(spreads[n])) for n in spreads]
    assert widths == sorted(widths, reverse=True)
    assert 0.7 < np.std(standard) < 1.3, "as far off as it says it may be"


def test_no_votes_leave_the_prior() -> None:
    heads, row = world(0)
    prior = row_prior(heads)
    votes, view = fought(heads, row, 0, 0)
    found = fitted(votes, GRK, view, prior)
    assert np.allclose(found.mode, prior.mode)
    assert np.allclose(found.factor.T @ found.factor, prior.factor.T @ prior.factor)


def test_like_centres_the_prior_and_narrows_it() -> None:
    heads, _ = world(1)
    like, anyone = row_prior(heads, 3), row_prior(heads)
    assert np.allclose(like.mode, np.append(heads.weight[3], heads.bias[3]))
    assert np.linalg.norm(like.factor) < np.linalg.norm(anyone.factor)


def test_facts_move_the_prior_to_rows_of_such_models() -> None:
    heads, _ = world(2)
    x = np.append(np.full(WIDTH, 0.3), 1.0)
    usual = np.column_stack([heads.weight, heads.bias]) @ x
    anyone = row_prior(heads)
    strong = row_prior(heads, None, usual, (float(usual.max()), 0.1))
    unsure = row_prior(heads, None, usual, (float(usual.max()), 1e6))
    assert x @ strong.mode == pytest.approx(usual.max(), abs=0.1)
    assert np.linalg.norm(strong.factor @ x) == pytest.approx(0.1, rel=0.05)
    assert np.allclose(unsure.mode, anyone.mode, atol=1e-6)
    assert np.allclose(unsure.factor.T @ unsure.factor, anyone.factor.T @ anyone.factor)


@pytest.mark.parametrize("family", list(PreferenceFamily))
def test_one_sided_votes_stay_finite(family: PreferenceFamily) -> None:
    n = 500
    view = View(np.ones((n, 1)), HeadOutputs(np.zeros((n, N_KNOWN)), np.zeros(n), np.zeros(n)))
    votes = table(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64))
    found = fitted(votes, family, view, Row(np.zeros(1), np.ones((1, 1))))
    assert 1.0 < found.mode[0] < 10.0
    assert 0.0 < found.factor[0, 0] < 1.0


@pytest.mark.slow
def test_the_order_of_votes_hardly_matters() -> None:
    heads, row = world(3)
    votes, view = fought(heads, row, 300, 3)
    prior = row_prior(heads)
    found = fitted(votes, GRK, view, prior)
    back = replace(votes, **{
        name: getattr(votes, name)[::-1] for name in ("prompt", "model_a", "model_b", "outcome")
    })  # fmt: skip
    again = fitted(back, GRK, view, prior)
    spread = np.sqrt(((view.x @ found.factor.T) ** 2).sum(axis=1))
    assert np.abs(view.x @ (found.mode - again.mode)).mean() < 0.5 * spread.mean()


def test_a_soft_label_counts_for_its_share_and_a_weight_for_as_many_votes() -> None:
    heads, row = world(4)
    votes, view = fought(heads, row, 1, 4)
    sure = replace(votes, outcome=np.zeros(1, dtype=np.int64))

    def value(votes: VoteTable) -> float:
        return float((view.x @ fitted(votes, GRK, view, row_prior(heads)).mode)[0])

    half = replace(votes, p_model_a=np.array([0.5]))
    assert value(replace(sure, p_model_a=np.array([1.0]))) == pytest.approx(value(sure))
    assert value(half) < value(sure) < value(replace(sure, weight=np.array([5.0])))


@pytest.fixture
def graded_file(tmp_path: Path) -> Path:
    """delta, which met nobody, is right on a's and wrong on z's; the others are half right."""
    rows = [{"prompt": f"{letter} " * (1 + i % 7) + f"{i}", "model": "delta",
             "score": float(letter == "a")} for i in range(40) for letter in "az"]  # fmt: skip
    rows += [{"prompt": f"q {i}", "model": model, "score": float(i % 2)}
             for i in range(40) for model in ("alpha", "beta")]  # fmt: skip
    path = tmp_path / "scores.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


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


@pytest.mark.slow
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


def test_grades_of_the_new_model_alone_teach(tmp_path: Path, graded_file: Path) -> None:
    old = load_checkpoint(write_checkpoint(tmp_path / "old"))
    arguments = ["onboard", "--checkpoint", str(old.path), "--model", "delta"]
    assert main([*arguments, "--data", str(graded_file), "--out", str(tmp_path / "new")]) == 0
    new = load_checkpoint(tmp_path / "new")
    assert new.manifest.onboarded["delta"].n_votes == 80
    gaps = []
    for prompt in ("a a a", "z z z"):
        ids = [new.prompt.encode(Conversation((prompt,)))]
        board = new.leaderboard(load_engine(new).features(ids)[0])
        gaps.append(board.coefficients[-1] - board.coefficients[:2].mean())
    assert gaps[0] > gaps[1]


def test_grades_of_compared_answers_count_once(tmp_path: Path, graded_file: Path) -> None:
    rows = graded_rows(read_columns(graded_file), graded_file)
    compared = rows.conversations[:30]
    found = lone_grades("delta", [rows], compared, ("alpha", "beta", "gamma"))
    mine = found.model == 3
    assert mine.sum() == 50
    assert not set(compared) & {found.conversations[one] for one in found.prompt[mine]}
    assert (~mine).sum() == 80, "the others tell the level of the grades"
    assert not mine[:80].any(), "before the new model's are judged"


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
