"""A tiny checkpoint of static features, through the real save path."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tiny_checkpoint import MODELS, WIDTH, write_base

from p2l_model.checkpoint.folder import save_checkpoint
from p2l_model.checkpoint.heads import Heads
from p2l_model.checkpoint.manifest import Manifest, Marginal, Pooling
from p2l_model.checkpoint.static_table import StaticTable
from p2l_model.checkpoint.tokens import ENDS, PromptEncoder, PromptFormat
from p2l_model.training.backbones import load_base
from p2l_model.types import PreferenceFamily

MAX_TOKENS = 32


def write_static_base(path: Path, *, importance: bool = False) -> Path:
    """The base of a tiny encoder's tokens with random vectors."""
    encoder = write_base(path.parent / f"{path.name}-encoder")
    path.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(encoder / "tokenizer.json", path / "tokenizer.json")
    n_tokens = json.loads((encoder / "config.json").read_text())["vocab_size"]
    chance = np.random.default_rng(5)
    counts = chance.uniform(0.1, 1.0, n_tokens).astype(np.float32) if importance else None
    vectors = chance.normal(size=(n_tokens, WIDTH)).astype(np.float32)
    save_file(StaticTable.quantised(vectors, counts).tensors(), path / "model.safetensors")
    config = {"model_type": "static", "name": "tiny vectors", "num_hidden_layers": 0}
    config |= {"vocab_size": n_tokens, "hidden_size": WIDTH}
    (path / "config.json").write_text(json.dumps(config))
    return path


def write_static_checkpoint(
    path: Path, pooling: Pooling = "mean-max", *, importance: bool = False
) -> Path:
    """A checkpoint with random heads for MODELS."""
    base = load_base(
        str(write_static_base(path.parent / f"{path.name}-base", importance=importance))
    )
    width = base.width([-1], pooling)
    chance = np.random.default_rng(1)
    heads = Heads(
        chance.normal(size=(3, width)), chance.normal(size=3), chance.normal(size=width), 0.3
    )
    prompt_format = PromptFormat(ENDS, MAX_TOKENS)
    manifest = Manifest(
        family=PreferenceFamily.GRK,
        kind="static",
        backbone=base.name,
        pooling=pooling,
        max_tokens=MAX_TOKENS,
        prompt_format=ENDS,
        prompt_format_hash=PromptEncoder(base.tokenizer, prompt_format).hash,
        models=MODELS,
        marginal=Marginal(coefficients=[0.5, 0.0, -0.5], eta=0.1),
    )
    tensors = {**base.tensors, **heads.tensors()}
    save_checkpoint(path, base=base.path, manifest=manifest, tensors=tensors, graph=None)
    return path
