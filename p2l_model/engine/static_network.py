"""Static features in torch: the reference against which the numpy engine is checked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from p2l_model.checkpoint.manifest import MAX, MEAN
from p2l_model.checkpoint.static_table import StaticTable


class StaticBackbone(nn.Module):
    """The table as a module with the interface of `Backbone`."""

    words: Tensor
    scale: Tensor
    importance: Tensor

    def __init__(self, table: StaticTable, pooling: str) -> None:
        """pooling: mean, max or mean-max."""
        super().__init__()
        self.pooling = pooling
        self.register_buffer("words", torch.from_numpy(table.words.copy()))
        self.register_buffer("scale", torch.from_numpy(table.scale.copy()))
        counts = torch.ones(table.words.shape[0])
        if table.importance is not None:
            counts = torch.from_numpy(table.importance.copy())
        self.register_buffer("importance", counts)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Features (B, F) from input_ids and attention_mask (B, S); 0 where there is no token."""
        if input_ids.shape[1] == 0:
            input_ids = input_ids.new_zeros((input_ids.shape[0], 1))
            attention_mask = torch.zeros_like(input_ids)
        vectors = self.words[input_ids].float() * self.scale  # (B, S, D)
        there = attention_mask.unsqueeze(-1).to(vectors.dtype)
        counts = self.importance[input_ids].unsqueeze(-1) * there
        parts = []
        if self.pooling != MAX:
            parts.append((vectors * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1e-30))
        if self.pooling != MEAN:
            largest = vectors.masked_fill(there == 0, -torch.inf).amax(dim=1)
            parts.append(torch.where(there.sum(dim=1) > 0, largest, torch.zeros_like(largest)))
        return torch.cat(parts, dim=-1)
