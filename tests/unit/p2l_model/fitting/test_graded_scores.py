"""Graded scores: the regression finds who is right where, says what it does not know, and ships."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import write_base
from toy_votes import quiet

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import load_votes
from p2l_model.engine.load import load_engine
from p2l_model.errors import CheckpointError
from p2l_model.fitting.config import TrainConfig, TrunkConfig
from p2l_model.fitting.graded_scores import (
    ScoreModel,
    calibrated_scores,
    fit_scores,
    picks,
    score_report,
    unit_scores,
)
from p2l_model.training.train import train
from p2l_model.types import Conversation


def write_scores(path: Path, n_prompts: int, seed: int) -> Path:
    """x is right on a's, y on z's, nine times in ten; w is right one time in four."""
    chance = random.Random(seed)
    rows = []
    for _ in range(n_prompts):
        letter = chance.choice("az")
        prompt = " ".join(
            letter * chance.randint(1, 3) for _ in range(2 * chance.randint(1, 4) + seed % 2)
        )
        rates = {"x": 0.9 if letter == "a" else 0.1, "y": 0.9 if letter == "z" else 0.1, "w": 0.25}
        for model, rate in rates.items():
            graded = float(chance.random() < rate)
            rows.append({"prompt": prompt, "model": model, "score": graded})
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_scores_ride_along_with_the_votes(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "model": name, "score": score}
            for name, score in (("x", 8), ("y", 3), ("w", 5))]  # fmt: skip
    path = tmp_path / "scores.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    votes = load_votes([path], score_range=(1.0, 10.0))
    table = dict(zip(votes.models, unit_scores(votes)[0], strict=True))
    assert table == pytest.approx({"x": 7 / 9, "y": 2 / 9, "w": 4 / 9})


def test_picks_are_among_the_models_that_the_part_grades() -> None:
    """Two sources share a checkpoint: the report of one does not wait for the other's models."""
    scores = np.array([[1.0, 0.0, np.nan], [0.0, 1.0, np.nan]])
    heads = Heads(
        np.zeros((3, 1)),
        np.zeros(3),
        score_weight=np.zeros((3, 1)),
        score_bias=np.array([2.0, 0, 9]),
    )
    model = ScoreModel(heads, [True, True, True], None)
    report = score_report(model, scores, scores, np.zeros((2, 1)))
    assert report["picks"]["n_prompts"] == 2
    assert report["picks"]["picked"] == 0.5
    assert report["picks"]["oracle"] == 1.0


def test_a_known_regression_is_found() -> None:
    chance = np.random.default_rng(0)
    weight, bias = chance.normal(size=(3, 5)), np.array([0.5, -0.5, 0.0])
    x = chance.normal(size=(6000, 5))
    p = 1 / (1 + np.exp(-(x @ weight.T + bias)))
    graded = (chance.random(p.shape) < p).astype(np.float64)
    graded[:, 2] = np.where(np.arange(6000) < 20, graded[:, 2], np.nan)  # too few to say
    found = fit_scores(Heads(np.zeros((3, 5)), np.zeros(3)), x[:5000], graded[:5000],
                       x[5000:], graded[5000:])  # fmt: skip
    assert found is not None
    assert found.known == [True, True, False]
    predicted = found.heads.expected_scores(x[5000:])
    assert predicted is not None
    assert np.abs(predicted[:, :2] - p[5000:, :2]).mean() < 0.03


def test_fractions_are_targets_too() -> None:
    x = np.linspace(-2, 2, 400)[:, None]
    share = 1 / (1 + np.exp(-x))
    found = fit_scores(Heads(np.zeros((1, 1)), np.zeros(1)), x, share, x, share)
    assert found is not None
    predicted = found.heads.expected_scores(x)
    assert predicted is not None
    assert np.abs(predicted - share).max() < 0.03


def test_picks_compare_with_the_best_single_and_the_oracle() -> None:
    held = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [np.nan, 1.0]])
    found = picks(held.copy(), np.array([[1.0, 0.0], [1.0, 1.0]]), held, [True, True])
    assert found == {"n_prompts": 3, "picked": 1.0, "best_single": 2 / 3, "oracle": 1.0}


JOINT = TrunkConfig(
    hidden=16, members=2, epochs=40, batch_prompts=64, input_dropout=0.1, score_weight=1.0
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "trunk", [pytest.param(None, id="afterwards"), pytest.param(JOINT, id="jointly")]
)
def test_a_checkpoint_trained_on_scores_predicts_them(
    tmp_path: Path, trunk: TrunkConfig | None
) -> None:
    config = TrainConfig(base=str(write_base(tmp_path / "base")), max_tokens=48, trunk=trunk)
    training = write_scores(tmp_path / "train.jsonl", 400, 1)
    held = write_scores(tmp_path / "validation.jsonl", 150, 2)
    manifest = train(config, [training], [held], tmp_path / "out", quiet)
    report = next(iter(manifest.metrics["validation"]["scores"].values()))
    assert report["cross_entropy"] < report["cross_entropy_model_mean"] - 0.1
    assert report["brier"] < report["brier_model_mean"]
    assert report["picks"]["best_single"] + 0.2 < report["picks"]["picked"]
    checkpoint = load_checkpoint(tmp_path / "out")
    names = list(checkpoint.manifest.models)
    for prompt, best in (("a a a", "x"), ("z z z", "y")):
        ids = [checkpoint.prompt.encode(Conversation((prompt,)))]
        board = checkpoint.leaderboard(load_engine(checkpoint).features(ids)[0])
        assert board.expected_scores is not None
        assert names[int(np.argmax(board.expected_scores))] == best
    stored = json.loads((tmp_path / "out" / "p2l.json").read_text())
    (tmp_path / "out" / "p2l.json").write_text(json.dumps(stored | {"scored": None}))
    with pytest.raises(CheckpointError, match="score head"):
        load_checkpoint(tmp_path / "out")


def test_deviations_that_do_not_hold_are_drawn_back() -> None:
    """Heads that are three times too sure of what sets models apart, and right about the rest."""
    chance = np.random.default_rng(0)
    common, own = chance.normal(size=(1, 5)), chance.normal(size=(3, 5))
    own -= own.mean(axis=0)
    x = chance.normal(size=(4000, 5)) + 1.0
    p = 1 / (1 + np.exp(-(x @ (common + own).T)))
    held = (chance.random(p.shape) < p).astype(np.float64)
    held[::3, 1] = np.nan
    centre = x.mean(axis=0)
    weight = common + 3 * own
    heads = Heads(
        np.zeros((4, 5)),
        np.zeros(4),
        score_weight=np.vstack([weight, np.full(5, 7.0)]),
        score_bias=np.append((common + own - weight) @ centre, 0.0),
    )
    held = np.column_stack([held, np.full(4000, np.nan)])
    model = ScoreModel(heads, [True, True, True, False], None)
    found = calibrated_scores(model, x, x, held)
    assert found.scale == pytest.approx((1.0, 1 / 3), abs=0.06)
    predicted = found.heads.expected_scores(x)
    assert predicted is not None
    assert np.abs(predicted[:, :3] - p).mean() < 0.02
    assert found.heads.score_weight is not None
    assert (found.heads.score_weight[3] == 7.0).all(), "a model that nothing is known of stays"
