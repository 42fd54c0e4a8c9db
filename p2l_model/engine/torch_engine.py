"""The torch engine: the reference, and the one for a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from p2l_model.checkpoint import Checkpoint
from p2l_model.errors import ExtraMissingError

try:
    from p2l_model.network import load_backbone
except ImportError as error:  # torch is here, transformers is not
    raise ExtraMissingError("transformers", "torch") from error


class TorchEngine:
    """Batches by right padding; the mask keeps padding out of every result."""

    def __init__(self, checkpoint: Checkpoint, *, device: str | None = None) -> None:
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._device = torch.device(chosen)
        backbone = load_backbone(checkpoint)
        # a CPU only emulates half precision; a GPU takes the weights as they came
        self._backbone = (backbone.float() if chosen == "cpu" else backbone).to(self._device)

    @torch.inference_mode()
    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Token ids of B prompts -> (B, H)."""
        longest = max(len(ids) for ids in batch)
        ids = torch.zeros((len(batch), longest), dtype=torch.long)  # (B, S)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(batch):
            ids[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.long)
            mask[row, : len(prompt)] = 1
        pooled = self._backbone(ids.to(self._device), mask.to(self._device))
        features: NDArray[np.float32] = pooled.float().cpu().numpy()
        return features

    def warm_up(self) -> None:
        """The first forward pass initialises kernels."""
        self.features([[0] * 8])

    def close(self) -> None:
        """Nothing is held beyond memory."""
