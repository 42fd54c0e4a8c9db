"""The features of a prompt from the vectors of its tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from static_checkpoint import write_static_checkpoint

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.checkpoint.static_table import StaticTable
from p2l_model.errors import CheckpointError

VECTORS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def test_vectors_are_stored_within_half_a_step() -> None:
    table = StaticTable.quantised(VECTORS)
    assert table.words.dtype == np.int8
    assert np.all(np.abs(table.words * table.scale - VECTORS) <= table.scale / 2 + 1e-7)


def test_means_and_maxima_are_those_of_the_vectors() -> None:
    table = StaticTable.quantised(VECTORS)
    used = (table.words * table.scale)[[1, 1, 5]]
    mean, largest = used.mean(axis=0), used.max(axis=0)
    np.testing.assert_allclose(table.features([1, 1, 5], "mean"), mean, rtol=1e-5)
    np.testing.assert_allclose(table.features([1, 1, 5], "max"), largest, rtol=1e-6)
    np.testing.assert_allclose(
        table.features([1, 1, 5], "mean-max"), np.concatenate([mean, largest]), rtol=1e-5
    )


def test_a_token_counts_by_its_importance() -> None:
    importance = np.array([1, 3, 1, 1, 1, 1], np.float32)
    table = StaticTable.quantised(VECTORS, importance)
    exact = table.words * table.scale
    expected = (3 * exact[1] + exact[2]) / 4
    np.testing.assert_allclose(table.features([1, 2], "mean"), expected, rtol=1e-5)


def test_a_prompt_without_tokens_has_zeros() -> None:
    table = StaticTable.quantised(VECTORS)
    assert table.features([], "mean-max").tolist() == [0.0] * 8
    assert table.features([], "max").tolist() == [0.0] * 4


def test_a_token_without_a_vector_is_an_error() -> None:
    with pytest.raises(IndexError):
        StaticTable.quantised(VECTORS).features([6], "mean")


def _config(path: Path, **changed: Any) -> None:
    stored = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(stored | changed))


def _manifest(path: Path, **changed: Any) -> None:
    stored = json.loads((path / "p2l.json").read_text())
    (path / "p2l.json").write_text(json.dumps(stored | changed))


def _tensor(path: Path, name: str, value: Any) -> None:
    tensors = load_file(path / "model.safetensors")
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value
    save_file(tensors, path / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda path: _manifest(path, kind="network"), "model_type do not fit"),
        (lambda path: _config(path, model_type="bert"), "model_type do not fit"),
        (lambda path: _manifest(path, pooling="first"), "needs an order of positions"),
        (lambda path: _config(path, vocab_size=9), "vocab_size rows"),
        (lambda path: _tensor(path, "model.words", None), "model.words is missing"),
        (lambda path: _tensor(path, "model.words_scale", np.ones(3, np.float32)), "hidden_size"),
        (lambda path: _tensor(path, "model.importance", np.ones(3, np.float32)), "positive values"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, spoil: Any, complaint: str) -> None:
    path = write_static_checkpoint(tmp_path / "checkpoint", "mean")
    load_checkpoint(path)
    spoil(path)
    with pytest.raises(CheckpointError, match=complaint):
        load_checkpoint(path)
