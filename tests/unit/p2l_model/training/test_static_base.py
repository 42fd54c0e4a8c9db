"""The table of token vectors: from an encoder's own table, and from its outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoint import write_base
from toy_votes import quiet, write_votes

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.checkpoint.static_table import StaticTable
from p2l_model.data.files import load_votes
from p2l_model.engine.load import load_engine
from p2l_model.engine.static_engine import StaticEngine
from p2l_model.errors import DataError
from p2l_model.evaluation.report import evaluate
from p2l_model.fitting.config import StaticConfig, TrainConfig, TrunkConfig, load_train_config
from p2l_model.training.backbones import load_base
from p2l_model.training.static_base import static_base
from p2l_model.training.train import train
from p2l_model.types import Conversation

SAID = [Conversation((text,)) for text in ("a b c", "a a d", "b c")]


def table(tmp_path: Path, **options: Any) -> StaticTable:
    encoder = write_base(tmp_path / "encoder")
    path = static_base(StaticConfig(source=str(encoder), **options), SAID, tmp_path / "w", quiet)
    return StaticTable.of(load_base(str(path)).tensors)


def test_layer_0_is_the_encoders_own_table(tmp_path: Path) -> None:
    found = table(tmp_path)
    base = load_base(str(tmp_path / "encoder"))
    name = "model.embeddings.word_embeddings.weight"
    exact = base.tensors[name] * base.tensors[f"{name}_scale"][:, None]
    assert np.abs(found.words * found.scale - exact).max() < found.scale.max()


def test_layers_are_joined_and_a_pass_is_not_repeated(tmp_path: Path) -> None:
    told: list[str] = []

    def report(stage: str, done: float, total: float, note: str = "") -> None:
        told.append(stage)

    encoder = write_base(tmp_path / "encoder")
    options = StaticConfig(source=str(encoder), layers=[0, 1, 2])
    paths = [static_base(options, SAID, tmp_path / "w", report) for _ in range(2)]
    assert paths[0] == paths[1]
    assert told == ["token vectors: prompts read", "token vectors: tokens alone"]
    made = StaticTable.of(load_base(str(paths[0])).tensors)
    assert made.words.shape[1] == 3 * 32


def test_a_token_of_the_prompts_has_the_mean_of_its_outputs(tmp_path: Path) -> None:
    found = table(tmp_path, layers=[1], alone=1e-9)
    alone = table(tmp_path, layers=[1], alone=1e9)
    names = json.loads((tmp_path / "encoder" / "tokenizer.json").read_text())["model"]["vocab"]
    moved = np.abs(found.words * found.scale - alone.words * alone.scale).max(axis=1)
    assert moved[names["a"]] > 5 * max(found.scale.max(), alone.scale.max())
    assert moved[names["z"]] <= found.scale.max() + alone.scale.max()  # no prompt has it


def test_frequent_tokens_count_less(tmp_path: Path) -> None:
    found = table(tmp_path, importance=0.1)
    names = json.loads((tmp_path / "encoder" / "tokenizer.json").read_text())["model"]["vocab"]
    assert found.importance is not None
    a, d, z = (found.importance[names[letter]] for letter in "adz")
    assert a < d < z == 1.0
    assert a == pytest.approx(0.1 / (0.1 + 3 / 8))


@pytest.mark.slow
def test_a_checkpoint_of_static_features_learns_and_serves(tmp_path: Path) -> None:
    votes = [write_votes(tmp_path / f"{seed}.jsonl", 300, seed) for seed in (1, 2)]
    options = TrainConfig(
        base="static",
        static=StaticConfig(source=str(write_base(tmp_path / "encoder")), layers=[0, 1]),
        pooling="mean-max",
        max_tokens=48,
        trunk=TrunkConfig(hidden=16, members=1, epochs=40, batch_prompts=64, input_dropout=0.1),
    )
    train(options, votes[:1], votes[1:], tmp_path / "out", quiet)
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.manifest.kind == "static"
    engine = load_engine(checkpoint)
    assert isinstance(engine, StaticEngine)
    report = evaluate(checkpoint, engine, load_votes(votes[1:]), lambda done, total: None)
    assert report["delta_ci95"][1] < 0
    assert report["log_loss"] == pytest.approx(
        checkpoint.manifest.metrics["validation"]["log_loss"], abs=1e-4
    )


def test_a_static_table_is_not_fine_tuned(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("base: static\nfinetune: {epochs: 1}\n")
    with pytest.raises(DataError, match="finetune needs layers"):
        load_train_config(tmp_path / "c.yaml", {})
