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

PROMPTS = [
    "",
    "x",
    "Prove that there are infinitely many primes.",
    "请用中文写一首关于秋天的诗。",
    "[CLS] [SEP] [MASK] </s> <|endoftext|>",
    "A long one. " * 400,
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "largest", "mean"),
    [
        ("bundled", 1e-4, 1e-5),
        pytest.param("bundled-high", 0.6, 0.2, marks=pytest.mark.slow),
    ],
)
def test_torch_gives_the_same_coefficients(name: str, largest: float, mean: float) -> None:
    """The table's are the same but for rounding. int8 activations cost the encoder's up to 0.10 on
    average, where their spread over models is 0.7: above these bounds something is broken."""
    checkpoint = load_checkpoint(resolve_checkpoint(name))
    ids = [checkpoint.prompt.encode(Conversation((prompt,))) for prompt in PROMPTS]
    ours = load_engine(checkpoint).features(ids)
    reference = load_engine(checkpoint, "torch").features(ids)
    for mine, theirs in zip(ours, reference, strict=True):
        a = checkpoint.leaderboard(mine).coefficients
        b = checkpoint.leaderboard(theirs).coefficients
        assert np.abs(a - b).max() < largest
        assert np.abs(a - b).mean() < mean
        assert name == "bundled-high" or a.argmax() == b.argmax()


@pytest.mark.parametrize("name", ["bundled", "bundled-high"])
def test_the_manifest_names_only_sets_that_may_ship(name: str) -> None:
    manifest = load_checkpoint(resolve_checkpoint(name)).manifest
    sets = {name.split("/")[0] for name in manifest.training_data["files"]}
    assert sets == {
        "zeroeval", "arena_bench_v1", "pandalm", "judge_rewards", "mmlu_pair",
        "ctala_es", "scale_sql", "reasoning_gym",
    }  # fmt: skip
    assert all("train" in name for name in manifest.training_data["files"])


def test_both_checkpoints_know_the_same_models() -> None:
    fast, high = (load_checkpoint(resolve_checkpoint(n)) for n in ("bundled", "bundled-high"))
    assert fast.manifest.models == high.manifest.models


# Pairs whose order nobody doubts: (better, worse).
ORDERS = [
    ("gemini-2.5-pro", "llama-7b"),
    ("claude-opus-5", "gpt-4-0314"),
    ("claude-opus-5", "Llama-3.1-8B-Instruct"),
    ("gpt-5.5", "gpt-3.5-turbo-0125"),
]
EVERYDAY = [
    "Write a four-line poem about the last train home in winter.",
    "I have slept badly for three weeks and feel anxious before work.",
    "My landlord kept my deposit for normal wear and tear. What can I do?",
    "Write a Python function that merges two sorted linked lists.",
]


@pytest.mark.parametrize("name", ["bundled", "bundled-high"])
@pytest.mark.parametrize("prompt", EVERYDAY)
def test_models_of_today_are_not_below_those_of_2023(name: str, prompt: str) -> None:
    checkpoint = load_checkpoint(resolve_checkpoint(name))
    ids = checkpoint.prompt.encode(Conversation((prompt,)))
    board = checkpoint.leaderboard(load_engine(checkpoint).features([ids])[0])
    value = dict(zip(board.models, board.coefficients, strict=True))
    assert [pair for pair in ORDERS if value[pair[0]] <= value[pair[1]]] == []


@pytest.mark.parametrize(
    "prompt",
    [
        "Write a Python function that merges two sorted linked lists without recursion.",
        "Implement quicksort in C++.",
        "请用三句话解释什么是通货膨胀，并举一个生活中的例子。",
        "写一首关于秋天的诗。",
        "日本の首都はどこですか。",
    ],
)
def test_on_code_and_in_other_scripts_published_results_hold(prompt: str) -> None:
    """Here training compares no model of today with one of 2023, and it has no such Chinese."""
    checkpoint = load_checkpoint(resolve_checkpoint("bundled"))
    ids = checkpoint.prompt.encode(Conversation((prompt,)))
    board = checkpoint.leaderboard(load_engine(checkpoint).features([ids])[0])
    value = dict(zip(board.models, board.coefficients, strict=True))
    for better in ("gemini-2.5-pro", "claude-opus-5", "gpt-5.5"):
        for worse in ("gpt-4-1106-preview", "Mixtral-8x7B-Instruct-v0.1", "llama-7b"):
            assert value[better] > value[worse]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", ["zeroeval", "judge_rewards"])
def test_evaluate_gives_the_manifests_figures(data_dir: Path, name: str) -> None:
    # The manifest's figures are of pairs of graded answers, also where a set has comparisons.
    scores = data_dir / name / "scores.validation.parquet"
    done = p2l_router("evaluate", "--json", "--data", str(scores))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    manifest = load_checkpoint(resolve_checkpoint("bundled")).manifest
    promised = manifest.metrics["validation"]["by_source"][name]
    assert report["log_loss"] == pytest.approx(promised["log_loss"], abs=1e-3)
    assert report["delta_ci95"][1] < 0
