"""Engines: one weight file, two precisions, the same features as torch."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tiny_checkpoint import write_checkpoint

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint, resolve_checkpoint
from p2l_model.engine.cores import usable_cores
from p2l_model.engine.graph import build_graph
from p2l_model.engine.load import load_engine
from p2l_model.errors import CheckpointError, ScoringError
from p2l_model.types import Conversation

PROMPTS = [
    "",
    "x",
    "Prove that there are infinitely many primes.",
    "请用中文写一首关于秋天的诗。",
    "[CLS] [SEP] [MASK] </s> <|endoftext|> \ud800",
    "word " * 509,
    "word " * 510,
    "word " * 511,
    "A long one, far over what is kept. " * 400,
]
# Measured with the bundled backbone on a CPU with VNNI: float32 differs by 2e-6 at most; int8
# activations with a scale per position are 3.1% off on average (relative, per prompt), which moves
# coefficients by 0.010 on average. One scale per prompt was 6.5% off. The int8 bound catches a
# broken graph and a return to that.
FP32_PARITY = 1e-4
INT8_RELATIVE = 0.06


def as_precision(
    source: Path, target: Path, precision: str, layers: list[int], pooling: str = "mean"
) -> Path:
    """A copy of a checkpoint whose graph has another precision, other feature layers or pooling."""
    shutil.copytree(source, target)
    manifest = json.loads((target / "p2l.json").read_text())
    changed = {"engine_precision": precision, "feature_layers": layers, "pooling": pooling}
    (target / "p2l.json").write_text(json.dumps(manifest | changed))
    config = json.loads((target / "config.json").read_text())
    (target / "onnx" / "model.onnx").write_bytes(build_graph(config, precision, layers, pooling))
    return target


def _widen_heads(path: Path, times: int) -> None:
    """As many times the weights: for a backbone that gives more features."""
    tensors = load_file(path / "model.safetensors")
    for name, tensor in tensors.items():
        if name.startswith("head.") and name.endswith("weight"):
            tensors[name] = np.tile(tensor, (1, times))
    save_file(tensors, path / "model.safetensors")


def encoded(checkpoint: Checkpoint) -> list[list[int]]:
    return [checkpoint.prompt.encode(Conversation((text,))) for text in PROMPTS]


def relative(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
    error: NDArray[np.float32] = np.linalg.norm(mine - theirs, axis=1)
    return error / np.linalg.norm(theirs, axis=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_real_backbone_agrees_with_torch_in_both_precisions(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(resolve_checkpoint("bundled-high"))
    ids = encoded(checkpoint)
    assert [len(one) for one in ids[5:]] == [511, 512, 512, 512]
    torch = load_engine(checkpoint, "torch").features(ids)
    layers = checkpoint.manifest.feature_layers
    other = as_precision(
        checkpoint.path, tmp_path / "fp32", "fp32", layers, checkpoint.manifest.pooling
    )
    exact = load_engine(load_checkpoint(other), "onnx").features(ids)
    assert np.abs(exact - torch).max() < FP32_PARITY
    other = as_precision(
        checkpoint.path, tmp_path / "int8", "int8", layers, checkpoint.manifest.pooling
    )
    rounded = load_engine(load_checkpoint(other), "onnx").features(ids)
    assert relative(rounded, torch).max() < INT8_RELATIVE
    assert np.abs(rounded - torch).max() > FP32_PARITY  # it is int8 that was measured


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_means_and_maxima_side_by_side(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint")
    found = {}
    for pooling in ("mean", "max", "mean-max"):
        layers = [0, -1]
        path = as_precision(source, tmp_path / pooling, "fp32", layers, pooling)
        with pytest.raises(CheckpointError, match="the heads take 32 features"):
            load_checkpoint(path)
        _widen_heads(path, 4 if pooling == "mean-max" else 2)
        checkpoint = load_checkpoint(path)
        ids = encoded(checkpoint)
        found[pooling] = load_engine(checkpoint, "onnx").features(ids)
        # torch pads the short ones: no padding may be anyone's largest
        torch = load_engine(checkpoint, "torch").features(ids)
        assert np.abs(found[pooling] - torch).max() < FP32_PARITY
    assert np.array_equal(found["mean-max"], np.hstack([found["mean"], found["max"]]))
    assert np.all(found["max"] >= found["mean"])
    assert np.any(found["max"] > found["mean"] + 0.1)


def test_features_do_not_depend_on_the_batch_or_the_threads(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(write_checkpoint(tmp_path / "checkpoint"))
    ids = encoded(checkpoint)
    engine = load_engine(checkpoint, n_threads=1)
    together = engine.features(ids)
    alone = [engine.features([one])[0] for one in reversed(ids)][::-1]
    assert np.array_equal(together, np.stack(alone))
    np.testing.assert_allclose(load_engine(checkpoint, n_threads=2).features(ids), together, 1e-5)


def test_a_prompt_the_model_cannot_read_is_a_scoring_error(tmp_path: Path) -> None:
    engine = load_engine(load_checkpoint(write_checkpoint(tmp_path / "checkpoint")))
    with pytest.raises(ScoringError):
        engine.features([[2, 10**6, 3]])
    assert engine.features([[2, 5, 3]]).shape == (1, 32)


def test_a_graph_for_other_weights_is_refused(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint")
    path = as_precision(source, tmp_path / "mixed", "int8", [-1])
    manifest = json.loads((path / "p2l.json").read_text()) | {"engine_precision": "fp32"}
    (path / "p2l.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="does not fit the weights"):
        load_engine(load_checkpoint(path))


def test_other_architectures_have_no_graph() -> None:
    with pytest.raises(CheckpointError, match="BERT"):
        build_graph({"model_type": "gpt2", "hidden_act": "gelu"}, "fp32", [-1])
    llama = {"model_type": "llama", "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
    with pytest.raises(CheckpointError, match="yarn"):
        build_graph(llama, "fp32", [-1], "last", 64)
    with pytest.raises(CheckpointError, match="pooled at their last layer"):
        build_graph({"model_type": "llama"}, "fp32", [0, -1], "last", 64)


@pytest.mark.slow
def test_a_prompt_has_one_thread_and_prompts_go_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2l_model.engine.onnx_engine.usable_cores", lambda: 3)
    checkpoint = load_checkpoint(resolve_checkpoint("bundled-high"))
    ids = [checkpoint.prompt.encode(Conversation((text,))) for text in PROMPTS[:5]]
    default, fixed = (load_engine(checkpoint, "onnx", n_threads=n) for n in (0, 2))
    assert (default.limits.parallel, fixed.limits.parallel) == (2, 1), "a core is left for others"
    assert default.limits.side_by_side
    assert not fixed.limits.side_by_side
    meet = threading.Barrier(3)
    alone = default._one  # type: ignore[attr-defined]

    def together(one: list[int]) -> NDArray[np.float32]:
        meet.wait(timeout=30)  # broken, were they computed one after the other
        return alone(one)

    monkeypatch.setattr(default, "_one", together)
    assert np.array_equal(default.features(ids[:3]), [alone(one) for one in ids[:3]])
    assert np.allclose(fixed.features(ids), [alone(one) for one in ids], atol=1e-4)
    default.close()


def test_cores_are_those_of_the_process_and_of_its_container(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    here = len(os.sched_getaffinity(0))
    assert usable_cores(quota) == here
    for text, cores in (("max 100000", here), ("100000 100000", 1), ("50000 100000", 1),
                        ("9900000 100000", here), ("nonsense", here)):  # fmt: skip
        quota.write_text(text)
        assert usable_cores(quota) == cores
