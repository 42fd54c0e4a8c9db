"""The checkpoint that ships: its figures are those of its manifest, and torch agrees with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import p2l_router

from p2l_model.checkpoint.folder import load_checkpoint, resolve_checkpoint
from p2l_model.engine.load import load_engine
from p2l_model.types import Conversation

# Coefficients, whose spread over models is 0.7: what int8 activations cost. The manifest's
# metrics.export has what was measured; above these something is broken.
LARGEST_ERROR, MEAN_ERROR = 0.3, 0.05

PROMPTS = [
    "",
    "x",
    "Prove that there are infinitely many primes.",
    "请用中文写一首关于秋天的诗。",
    "[CLS] [SEP] [MASK] </s> <|endoftext|>",
    "A long one. " * 400,
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torch_gives_the_same_coefficients() -> None:
    checkpoint = load_checkpoint(resolve_checkpoint("bundled"))
    ids = [checkpoint.prompt.encode(Conversation((prompt,))) for prompt in PROMPTS]
    ours = load_engine(checkpoint, "onnx").features(ids)
    reference = load_engine(checkpoint, "torch").features(ids)
    for mine, theirs in zip(ours, reference, strict=True):
        a = checkpoint.leaderboard(mine).coefficients
        b = checkpoint.leaderboard(theirs).coefficients
        assert np.abs(a - b).max() < LARGEST_ERROR
        assert np.abs(a - b).mean() < MEAN_ERROR
        assert a.argmax() == b.argmax()


def test_the_manifest_names_only_sets_that_may_ship() -> None:
    manifest = load_checkpoint(resolve_checkpoint("bundled")).manifest
    sets = {name.split("/")[0] for name in manifest.training_data["files"]}
    assert sets == {"zeroeval", "arena_bench_v1", "pandalm", "judge_rewards", "mmlu_pair"}
    assert all("train" in name for name in manifest.training_data["files"])


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", ["zeroeval", "judge_rewards"])
def test_evaluate_gives_the_manifests_figures(data_dir: Path, name: str) -> None:
    done = p2l_router("evaluate", "--json", "--data", str(data_dir / name))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    manifest = load_checkpoint(resolve_checkpoint("bundled")).manifest
    promised = manifest.metrics["validation"]["by_source"][name]
    assert report["log_loss"] == pytest.approx(promised["log_loss"], abs=1e-3)
    assert report["delta_ci95"][1] < 0
