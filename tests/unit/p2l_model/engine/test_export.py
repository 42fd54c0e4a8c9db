"""Exports: encoders and decoders as a graph on the CPU engine, with torch's features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from reference_checkpoint import write_reference
from tiny_checkpoint import write_checkpoint

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint
from p2l_model.engine.export import export_checkpoint
from p2l_model.engine.load import load_engine
from p2l_model.errors import CheckpointError
from p2l_model.training.import_reference import import_reference
from p2l_model.types import Conversation

PROMPTS = [("",), ("x",), ("first", "second"), ("秋天的诗",), ("many words " * 200,)]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def quiet(stage: str, done: float, total: float, note: str = "") -> None:
    """Nothing to see."""


def ids_of(checkpoint: Checkpoint) -> list[list[int]]:
    return [checkpoint.prompt.encode(Conversation(turns)) for turns in PROMPTS]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backbone", ["llama", "qwen2"])
def test_a_decoders_graph_gives_torchs_features(
    tmp_path: Path, backbone: str, dtype: torch.dtype
) -> None:
    source = write_reference(tmp_path / "reference", backbone, "bag", dtype=dtype)
    import_reference(source, tmp_path / "ours", quiet)
    imported = load_checkpoint(tmp_path / "ours")
    exported = export_checkpoint(imported, tmp_path / "export", "fp32")
    assert exported.manifest.quantization == "int8-rows"
    ids = ids_of(exported)
    exact = load_engine(exported, "torch").features(ids)
    mine = load_engine(exported, "onnx").features(ids)
    assert np.abs(mine - exact).max() < 1e-4
    # what remains against the checkpoint itself is the rounding of its weights
    before = load_engine(imported, "torch").features(ids)
    relative = np.linalg.norm(mine - before, axis=1) / np.linalg.norm(before, axis=1)
    assert 1e-4 < relative.max() < 0.05
    rounded = export_checkpoint(imported, tmp_path / "int8", "int8", {"changed": 0.1})
    assert rounded.manifest.metrics["export"] == {"changed": 0.1}
    # an int8 graph rounds what is between the layers as well: 0.053 for llama on an EPYC
    features = load_engine(rounded, "auto").features(ids)
    relative = np.linalg.norm(features - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert 1e-4 < relative.max() < 0.08


def test_an_encoder_keeps_its_weights(tmp_path: Path) -> None:
    source = load_checkpoint(write_checkpoint(tmp_path / "checkpoint"))
    exported = export_checkpoint(source, tmp_path / "export", "int8")
    assert exported.manifest.engine_precision == "int8"
    for name, tensor in source.tensors.items():
        assert np.array_equal(exported.tensors[name], tensor)


def test_what_has_no_graph_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    source = load_checkpoint(write_checkpoint(tmp_path / "checkpoint"))
    odd = replace(source, config={**source.config, "hidden_act": "relu"})
    with pytest.raises(CheckpointError, match="use --engine torch"):
        export_checkpoint(odd, tmp_path / "export", "fp32")
    assert not (tmp_path / "export").exists()
