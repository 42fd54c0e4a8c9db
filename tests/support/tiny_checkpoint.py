"""A tiny random BERT as a base folder and as a checkpoint, through the real save path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from p2l_model.checkpoint.folder import save_checkpoint
from p2l_model.checkpoint.heads import Heads
from p2l_model.checkpoint.manifest import Manifest, Marginal
from p2l_model.checkpoint.tokens import TURNS_SEP, PromptEncoder, PromptFormat
from p2l_model.training.backbones import load_base
from p2l_model.types import PreferenceFamily

WIDTH = 32
MAX_TOKENS = 48
CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": WIDTH,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "max_position_embeddings": MAX_TOKENS,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
MODELS = ["alpha", "beta", "gamma"]


def write_base(path: Path, seed: int = 0) -> Path:
    """A Hugging Face folder with random weights."""
    path.mkdir(parents=True, exist_ok=True)
    pieces = SPECIAL + LETTERS + [f"##{letter}" for letter in LETTERS] + [*"0123456789[]?.,"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.enable_truncation(8)  # as in the real one: must have no effect
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": len(vocabulary)}))
    save_file(_weights(len(vocabulary), np.random.default_rng(seed)), path / "model.safetensors")
    return path


def write_checkpoint(
    path: Path, family: PreferenceFamily = PreferenceFamily.GRK, *, zero_eta: bool = False
) -> Path:
    """A checkpoint with random heads for MODELS. zero_eta: whatever the prompt."""
    base = load_base(str(write_base(path.parent / "base")))
    chance = np.random.default_rng(1)
    grounded = family is PreferenceFamily.GRK
    heads = Heads(
        chance.normal(size=(3, WIDTH)),
        chance.normal(size=3),
        chance.normal(size=WIDTH) * (not zero_eta) if grounded else None,
        0.3 * (not zero_eta) if grounded else None,
        length_weight=0.1 * chance.normal(size=(3, WIDTH)),
        length_bias=np.array([5.0, 6.0, 4.0]),
    )
    prompt_format = PromptFormat(TURNS_SEP, MAX_TOKENS)
    manifest = Manifest(
        family=family,
        backbone="tiny",
        max_tokens=MAX_TOKENS,
        prompt_format=TURNS_SEP,
        prompt_format_hash=PromptEncoder(base.tokenizer, prompt_format).hash,
        models=MODELS,
        marginal=Marginal(coefficients=[0.5, 0.0, -0.5], eta=0.1 if grounded else None),
        length_sigma=[0.5, 0.4, None],
    )
    tensors = {**base.tensors, **heads.tensors()}
    graph = base.graph("fp32", [-1])
    save_checkpoint(path, base=base.path, manifest=manifest, tensors=tensors, graph=graph)
    return path


def _weights(vocabulary: int, chance: np.random.Generator) -> dict[str, np.ndarray]:
    def table(rows: int, columns: int = WIDTH) -> np.ndarray:
        return chance.normal(scale=0.3, size=(rows, columns)).astype(np.float32)

    def norm(name: str) -> dict[str, np.ndarray]:
        return {
            f"{name}.weight": np.ones(WIDTH, np.float32),
            f"{name}.bias": np.zeros(WIDTH, np.float32),
        }

    def linear(name: str, n_in: int, n_out: int) -> dict[str, np.ndarray]:
        return {f"{name}.weight": table(n_out, n_in), f"{name}.bias": table(1, n_out)[0]}

    weights = {
        "embeddings.word_embeddings.weight": table(vocabulary),
        "embeddings.position_embeddings.weight": table(MAX_TOKENS),
        "embeddings.token_type_embeddings.weight": table(2),
        **norm("embeddings.LayerNorm"),
    }
    for layer in range(2):
        name = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            weights |= linear(f"{name}.attention.self.{part}", WIDTH, WIDTH)
        weights |= linear(f"{name}.attention.output.dense", WIDTH, WIDTH)
        weights |= norm(f"{name}.attention.output.LayerNorm")
        weights |= linear(f"{name}.intermediate.dense", WIDTH, 64)
        weights |= linear(f"{name}.output.dense", 64, WIDTH)
        weights |= norm(f"{name}.output.LayerNorm")
    return weights
