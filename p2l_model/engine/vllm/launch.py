"""The arguments that vLLM needs for a checkpoint, in this process or on a command line."""

from __future__ import annotations

from typing import Any, Final

from p2l_model.checkpoint.folder import Checkpoint
from p2l_model.engine.vllm.plugin import ARCHITECTURE
from p2l_model.errors import CheckpointError

_BACKBONES: Final = ("qwen2", "llama")


def check_servable(checkpoint: Checkpoint) -> None:
    """Raises CheckpointError for a backbone or pooling that the plugin does not support."""
    manifest, kind = checkpoint.manifest, checkpoint.config.get("model_type")
    if kind not in _BACKBONES or manifest.pooling != "last" or manifest.feature_layers != [-1]:
        raise CheckpointError(
            f"{checkpoint.path}: the vllm engine serves {' and '.join(_BACKBONES)} backbones that "
            f"are pooled at the last token of the last layer; this one is {kind!r}, pooling "
            f"{manifest.pooling!r}, layers {manifest.feature_layers}: use --engine torch or onnx"
        )


def max_model_len(checkpoint: Checkpoint) -> int:
    """One more than we send: vLLM up to 0.31 reserves a place for a token that is never sampled,
    and a prompt of exactly max_model_len hangs there for ever."""
    return checkpoint.max_tokens + 1


def overrides(checkpoint: Checkpoint) -> dict[str, Any]:
    """vLLM's hf_overrides: the architecture is the plugin's, whatever config.json says."""
    changed: dict[str, Any] = {"architectures": [ARCHITECTURE]}
    positions = checkpoint.config.get("max_position_embeddings")
    if isinstance(positions, int) and positions < max_model_len(checkpoint):
        # The extra place is never filled, but without it vLLM refuses to start.
        changed["max_position_embeddings"] = max_model_len(checkpoint)
    return changed
