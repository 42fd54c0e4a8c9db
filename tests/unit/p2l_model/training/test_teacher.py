"""What a second checkpoint says of the training prompts becomes a share of what is trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoint import write_base
from toy_votes import quiet, write_votes

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.data.files import VoteTable, load_votes
from p2l_model.data.soft_labels import target_matrix
from p2l_model.engine.features import prompt_features
from p2l_model.engine.load import load_engine
from p2l_model.errors import DataError
from p2l_model.evaluation.metrics import predict
from p2l_model.fitting.config import TrainConfig, TrunkConfig
from p2l_model.training.teacher import Lesson, taught
from p2l_model.training.train import train
from p2l_model.types import FloatArray, PreferenceFamily

GRK, BT = PreferenceFamily.GRK, PreferenceFamily.BT


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("teacher")
    config = TrainConfig(base=str(write_base(root / "base")), max_tokens=48)
    files = [write_votes(root / "train.jsonl", 300, 1)], [write_votes(root / "held.jsonl", 80, 2)]
    train(config, *files, root / "teacher", quiet)
    return root / "teacher"


def lesson(
    teacher: Path, votes: VoteTable, scores: FloatArray | None = None, **more: Any
) -> Lesson:
    options = TrunkConfig(teacher=str(teacher), **more)
    return taught(options, GRK, votes, scores, teacher.parent / "work", quiet)


@pytest.mark.slow
def test_targets_are_a_mixture_of_votes_and_predictions(teacher: Path) -> None:
    votes = load_votes([teacher.parent / "held.jsonl"])
    scores = np.full((len(votes.conversations), len(votes.models)), np.nan)
    half, none = (lesson(teacher, votes, scores, teacher_share=share) for share in (0.5, 0.0))
    hard = target_matrix(GRK, votes)
    assert half.targets is not None
    assert none.targets is not None
    np.testing.assert_allclose(none.targets, hard)
    np.testing.assert_allclose(half.targets.sum(axis=1), 1.0)
    checkpoint = load_checkpoint(teacher)
    features = prompt_features(
        votes.conversations, checkpoint.prompt, load_engine(checkpoint), lambda done, total: None
    )
    outputs = checkpoint.heads.outputs(features, checkpoint.manifest.temperature)
    said = 2 * half.targets - hard
    loss = -(hard * np.log(said)).sum(axis=1)
    np.testing.assert_allclose(loss, predict(GRK, votes, outputs).loss, rtol=1e-6)
    assert half.scores is not None
    assert np.isnan(half.scores).all(), "no grade is made up"
    assert half.teacher == none.teacher != ""


@pytest.mark.slow
def test_a_teacher_must_know_the_models_and_the_family(teacher: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"prompt": "z", "model_a": "p", "model_b": "q", "winner": "tie"}')
    other = load_votes([path])
    with pytest.raises(DataError, match="lacks 2 models, as p"):
        lesson(teacher, other)
    votes = load_votes([teacher.parent / "held.jsonl"])
    with pytest.raises(DataError, match="is of the family grk; train with --family grk"):
        taught(TrunkConfig(teacher=str(teacher)), BT, votes, None, tmp_path, quiet)


@pytest.mark.slow
def test_a_teacher_may_teach_some_sources_only(teacher: Path) -> None:
    votes = load_votes([teacher.parent / "held.jsonl"])
    source = np.where(votes.prompt % 2 == 0, "even", "odd")
    mixed = replace(votes, source=source)
    found = lesson(teacher, mixed, teacher_sources=["even"])
    everywhere = lesson(teacher, mixed)
    assert found.targets is not None
    assert everywhere.targets is not None
    even = source == "even"
    assert np.array_equal(found.targets[even], everywhere.targets[even])
    assert np.array_equal(found.targets[~even], target_matrix(GRK, mixed)[~even])


def test_without_a_teacher_the_votes_are_the_targets(teacher: Path, tmp_path: Path) -> None:
    votes = load_votes([teacher.parent / "held.jsonl"])
    assert taught(TrunkConfig(), GRK, votes, None, tmp_path, quiet) == Lesson(None, None)


@pytest.mark.slow
def test_a_student_learns_from_a_few_votes_what_the_teacher_knows(
    teacher: Path, tmp_path: Path
) -> None:
    few = write_votes(tmp_path / "few.jsonl", 30, 5)
    held = teacher.parent / "held.jsonl"
    losses = {}
    for name in (None, str(teacher)):
        trunk = TrunkConfig(
            hidden=16, members=1, epochs=30, input_dropout=0.1, teacher=name, teacher_share=0.9
        )
        base = str(teacher.parent / "base")
        config = TrainConfig(base=base, max_tokens=48, trunk=trunk)
        manifest = train(config, [few], [held], tmp_path / str(name is None), quiet)
        losses[name is None] = manifest.metrics["validation"]["log_loss"]
    assert losses[False] < losses[True]
