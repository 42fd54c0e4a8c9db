"""The backbone in torch: the reference against which other engines are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from p2l_model.checkpoint.folder import WEIGHTS, Checkpoint
from p2l_model.checkpoint.int8 import dequantize_rows
from p2l_model.checkpoint.manifest import MAX, MEAN_MAX, STATIC
from p2l_model.checkpoint.static_table import StaticTable
from p2l_model.engine.static_network import StaticBackbone
from p2l_model.errors import CheckpointError

_LAST: Final = -1


class Backbone(nn.Module):
    """An encoder or a decoder of transformers, with pooling and its feature layers joined."""

    def __init__(
        self, config: Mapping[str, Any], feature_layers: Sequence[int], pooling: str = "mean"
    ) -> None:
        """config: config.json's content. pooling: as in Manifest."""
        super().__init__()
        self.model = _empty_model(config)
        self.feature_layers = list(feature_layers)
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Features (B, F) from input_ids and attention_mask (B, S), padded on the right."""
        deep = self.feature_layers != [_LAST]
        output = self.model(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=deep
        )
        states = output.hidden_states if deep else {_LAST: output.last_hidden_state}
        used = [states[layer] for layer in self.feature_layers]
        pooled = [self._pool(state, attention_mask) for state in used]
        if self.pooling == MEAN_MAX:
            pooled += [_largest(state, attention_mask) for state in used]
        return torch.cat(pooled, dim=-1)

    def _pool(self, state: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, S, H) -> (B, H) float32. The position decides; no special id is looked for."""
        state = state.float()  # half precision loses digits in a sum
        if self.pooling == "first":
            return state[:, 0]
        if self.pooling == "last":
            last = attention_mask.sum(dim=1) - 1  # (B,)
            return state[torch.arange(state.shape[0], device=state.device), last]
        if self.pooling == MAX:
            return _largest(state, attention_mask)
        mask = attention_mask.unsqueeze(-1).to(state.dtype)  # (B, S, 1)
        return (state * mask).sum(dim=1) / mask.sum(dim=1)


def _largest(state: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, S, H) -> (B, H) float32: each unit's maximum over the positions."""
    padding = attention_mask.unsqueeze(-1) == 0
    return state.float().masked_fill(padding, -torch.inf).amax(dim=1)


def load_backbone(checkpoint: Checkpoint) -> Backbone | StaticBackbone:
    """Loads the checkpoint's backbone: int8 rows become float32, other weights keep their type.
    Raises CheckpointError."""
    manifest = checkpoint.manifest
    if manifest.kind == STATIC:
        return StaticBackbone(StaticTable.of(checkpoint.tensors), manifest.pooling)
    backbone = Backbone(checkpoint.config, manifest.feature_layers, manifest.pooling)
    weights = stored_weights(checkpoint)
    try:
        missing, unexpected = backbone.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint.path}: config.json and the weights differ") from error
    if missing or unexpected:
        raise CheckpointError(
            f"{checkpoint.path}: missing weights: {missing}; unknown weights: {unexpected}"
        )
    return backbone.eval()


def _empty_model(config: Mapping[str, Any]) -> nn.Module:
    known = {key: value for key, value in config.items() if key != "model_type"}
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise CheckpointError("config.json has no model_type")
    try:
        made = AutoConfig.for_model(kind, **known)
        model: nn.Module = AutoModel.from_config(made)  # type: ignore[no-untyped-call]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"transformers makes no {kind} of config.json: {error}") from error
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # type: ignore[assignment]  # positions are pooled here
    return model


def stored_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The backbone's (`model.*`) weights: int8 rows become float32, others keep their type. Raises
    CheckpointError."""
    if checkpoint.manifest.quantization == "none":
        try:
            stored = load_file(checkpoint.path / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{checkpoint.path} cannot be read: {error}") from error
        return {name: w for name, w in stored.items() if name.startswith("model.")}
    return {name: torch.from_numpy(w) for name, w in exact_weights(checkpoint.tensors).items()}


def exact_weights(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """The backbone's (`model.*`) weights, with int8 rows converted to float32."""
    exact: dict[str, NDArray[np.float32]] = {}
    for name, tensor in tensors.items():
        if not name.startswith("model.") or name.endswith("_scale"):
            continue
        scale = tensors.get(f"{name}_scale")
        exact[name] = tensor if scale is None else dequantize_rows(tensor, scale)
    return exact
