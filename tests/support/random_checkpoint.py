"""Checkpoints of real sizes with random weights, to measure speed with: a Llama or Qwen2 decoder in
our layout, bfloat16, with heads for 130 models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from reference_checkpoint import write_tokenizer
from safetensors.torch import save_file

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint, write_checkpoint
from p2l_model.checkpoint.manifest import Manifest, Marginal
from p2l_model.checkpoint.tokens import CHAT_CLS, PromptEncoder, PromptFormat
from p2l_model.types import PreferenceFamily

N_MODELS = 130
# What SmolLM2-135M, Qwen2.5-1.5B and Qwen2.5-7B say of themselves.
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "135m": (
        "LlamaConfig",
        {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
         "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152},
    ),
    "1.5b": (
        "Qwen2Config",
        {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
         "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936},
    ),
    "7b": (
        "Qwen2Config",
        {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
         "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064},
    ),
}  # fmt: skip


def random_checkpoint(folder: Path, size: str, max_tokens: int) -> Checkpoint:
    """Written to the folder (twice the parameters in bytes)."""
    import transformers

    kind, sizes = SIZES[size]
    source = folder / f"{size}-source"
    source.mkdir(parents=True)
    write_tokenizer(source)
    config = getattr(transformers, kind)(**sizes, max_position_embeddings=32768)
    (source / "config.json").write_text(json.dumps(config.to_dict(), default=str))
    models = [f"model-{k}" for k in range(N_MODELS)]
    encoder = PromptEncoder(source / "tokenizer.json", PromptFormat(CHAT_CLS, max_tokens))
    manifest = Manifest(
        family=PreferenceFamily.GRK, backbone=size, pooling="last", max_tokens=max_tokens,
        prompt_format=CHAT_CLS, prompt_format_hash=encoder.hash, models=models,
        quantization="none", marginal=Marginal(coefficients=[0.0] * N_MODELS, eta=0.0),
    )  # fmt: skip
    weights = _weights(config)
    path = folder / size
    write_checkpoint(path, source, manifest, lambda out: save_file(weights, out), None)
    return load_checkpoint(path)


def _weights(config: Any) -> dict[str, torch.Tensor]:
    from transformers import AutoModel

    with torch.device("meta"):
        shapes = AutoModel.from_config(config).state_dict()
    torch.manual_seed(0)
    weights = {}
    for name, tensor in shapes.items():
        one = torch.ones if "norm" in name else torch.randn
        scaled = one(tensor.shape, dtype=torch.bfloat16)
        weights[f"model.{name}"] = scaled if "norm" in name else scaled * 0.02
    width = config.hidden_size
    weights["head.head.weight"] = torch.randn(N_MODELS, width) / width**0.5
    weights["head.head.bias"] = torch.randn(N_MODELS)
    weights["head.eta_head.weight"] = torch.randn(1, width) / width**0.5
    weights["head.eta_head.bias"] = torch.randn(1)
    return weights
