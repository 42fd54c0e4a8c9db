"""What vLLM must be told of a checkpoint, in this process or on a command line."""

from __future__ import annotations

from typing import Any, Final

from p2l_model.checkpoint.folder import Checkpoint
from p2l_model.engine.vllm.plugin import ARCHITECTURE
from p2l_model.errors import CheckpointError

_BACKBONES: Final = ("qwen2", "llama")


def check_servable(checkpoint: Checkpoint) -> None:
    """Raises CheckpointError for what the plugin does not compute."""
    manifest, kind = checkpoint.manifest, checkpoint.config.get("model_type")
    if kind not in _BACKBONES or manifest.pooling != "last" or manifest.feature_layers != [-1]:
        raise CheckpointError(
            f"{checkpoint.path}: the vllm engine serves {' and '.join(_BACKBONES)} backbones that "
            f"are pooled at the last token of the last layer; this one is {kind!r}, pooling "
            f"{manifest.pooling!r}, layers {manifest.feature_layers}: use --engine torch or onnx"
        )


def max_model_len(checkpoint: Checkpoint) -> int:
    """One more than we send: up to 0.31 vLLM keeps a place for a token that is never sampled, and
    a prompt of exactly max_model_len hangs there for ever."""
    return checkpoint.max_tokens + 1


def overrides(checkpoint: Checkpoint) -> dict[str, Any]:
    """hf_overrides: the architecture is ours whatever config.json says."""
    changed: dict[str, Any] = {"architectures": [ARCHITECTURE]}
    positions = checkpoint.config.get("max_position_embeddings")
    if isinstance(positions, int) and positions < max_model_len(checkpoint):
        # the one place more is never filled; without it vLLM refuses to start
        changed["max_position_embeddings"] = max_model_len(checkpoint)
    return changed
