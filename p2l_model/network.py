"""The backbone in torch: the reference that other engines are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from p2l_model.checkpoint import Checkpoint
from p2l_model.errors import CheckpointError
from p2l_model.quantize import dequantize_rows


class Backbone(nn.Module):
    """A BERT encoder with mean pooling over the joined feature layers."""

    def __init__(self, config: Mapping[str, Any], feature_layers: Sequence[int]) -> None:
        super().__init__()
        self.model = BertModel(BertConfig(**config), add_pooling_layer=False)
        self.feature_layers = list(feature_layers)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """input_ids, attention_mask: (B, S) -> pooled features (B, H * layers)."""
        states = self.model(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True
        ).hidden_states
        mask = attention_mask.unsqueeze(-1).to(states[-1].dtype)  # (B, S, 1)
        n_tokens = mask.sum(dim=1)  # (B, 1)
        pooled = [(states[layer] * mask).sum(dim=1) / n_tokens for layer in self.feature_layers]
        return torch.cat(pooled, dim=-1)


def load_backbone(checkpoint: Checkpoint) -> Backbone:
    """The checkpoint's backbone with its weights made float32 again. Raises CheckpointError."""
    backbone = Backbone(checkpoint.config, checkpoint.manifest.feature_layers)
    weights = {name: torch.from_numpy(w) for name, w in _exact(checkpoint.tensors).items()}
    missing, unexpected = backbone.load_state_dict(weights, strict=False)
    if missing or unexpected:
        raise CheckpointError(
            f"{checkpoint.path}: weights missing: {missing}; not known: {unexpected}"
        )
    return backbone.eval()


def _exact(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    exact: dict[str, NDArray[np.float32]] = {}
    for name, tensor in tensors.items():
        if not name.startswith("model.") or name.endswith("_scale"):
            continue
        scale = tensors.get(f"{name}_scale")
        exact[name] = tensor if scale is None else dequantize_rows(tensor, scale)
    return exact
