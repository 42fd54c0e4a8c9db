"""The heads as they are served are those of the checkpoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_checkpoint import WIDTH, write_checkpoint

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint
from p2l_model.checkpoint.heads import Heads
from p2l_model.checkpoint.served import ServedHeads
from p2l_model.errors import ScoringError

HIDDEN = 8


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(write_checkpoint(tmp_path_factory.mktemp("served") / "checkpoint"))


def heads() -> Heads:
    chance = np.random.default_rng(3)
    return Heads(
        chance.normal(size=(3, HIDDEN)),
        chance.normal(size=3),
        chance.normal(size=HIDDEN),
        0.2,
        length_weight=0.1 * chance.normal(size=(3, HIDDEN)),
        length_bias=np.array([5.0, 6.0, 4.0]),
        score_weight=chance.normal(size=(3, HIDDEN)),
        score_bias=chance.normal(size=3),
        trunk_weight=chance.normal(size=(HIDDEN, WIDTH)),
        trunk_bias=chance.normal(size=HIDDEN),
        factors={1: chance.normal(size=(2, HIDDEN + 1))},
    )


def test_a_leaderboard_has_the_heads_outputs(checkpoint: Checkpoint) -> None:
    made = heads()
    manifest = checkpoint.manifest.model_copy(
        update={"temperature": 1.3, "scored": [True, False, True]}
    )
    features = np.random.default_rng(4).normal(size=WIDTH).astype(np.float32)
    board = ServedHeads.of(made, manifest).leaderboard(features)
    x = features[None, :].astype(np.float64)
    outputs = made.outputs(x, 1.3)
    np.testing.assert_allclose(board.coefficients, outputs.coefficients[0], rtol=1e-5, atol=1e-5)
    assert board.eta == pytest.approx(outputs.eta[0], abs=1e-5)
    assert board.gamma is None
    logs, scores = made.log_tokens(x), made.expected_scores(x)
    assert logs is not None
    assert scores is not None
    expected = np.exp(logs[0] + np.array([0.125, 0.08, np.nan]))
    assert board.expected_output_tokens is not None
    np.testing.assert_allclose(board.expected_output_tokens, expected, rtol=1e-4)
    assert board.expected_scores is not None
    assert np.isnan(board.expected_scores[1])
    np.testing.assert_allclose(board.expected_scores[[0, 2]], scores[0, [0, 2]], rtol=1e-4)
    assert board.variance is not None
    factor = made.factors[1]
    row = np.append(made.hidden(x)[0], 1.0)
    assert board.variance[1] == pytest.approx(row @ factor.T @ factor @ row / 1.69, rel=1e-4)
    assert board.variance[[0, 2]].tolist() == [0.0, 0.0]


def test_other_heads_of_a_checkpoint_are_served_at_once(checkpoint: Checkpoint) -> None:
    other = replace(checkpoint.heads, bias=checkpoint.heads.bias + 1.0)
    features = np.zeros(WIDTH, np.float32)
    before = checkpoint.leaderboard(features).coefficients
    after = replace(checkpoint, heads=other).leaderboard(features).coefficients
    np.testing.assert_allclose(after, before + 1.0, rtol=1e-5)


def test_features_that_are_not_finite_are_an_error(checkpoint: Checkpoint) -> None:
    with pytest.raises(ScoringError, match="not finite"):
        checkpoint.leaderboard(np.full(WIDTH, np.inf, np.float32))
