"""The torch engine: the reference implementation, and an engine for GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2l_model.checkpoint.folder import Checkpoint
from p2l_model.checkpoint.manifest import STATIC
from p2l_model.engine.base import EngineLimits
from p2l_model.engine.options import EngineOptions
from p2l_model.errors import CheckpointError, ExtraMissingError, ScoringError

try:
    from p2l_model.engine.network import load_backbone
except ImportError as error:  # torch is installed, transformers is not
    raise ExtraMissingError("transformers", "torch") from error

# This many tokens keep a GPU busy; a larger batch only delays the first prompt.
_GPU_BATCH_TOKENS: Final = 16_384
_GPU_BATCH_PROMPTS: Final = 256
_GPU_WAIT_MS: Final = 2.0
_DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class TorchEngine:
    """On a CPU one prompt per forward pass; on a GPU batches of similar lengths, padded on the
    right. The attention mask keeps padding out of every result."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        options: EngineOptions | None = None,
        *,
        device: str | None = None,
    ) -> None:
        """Raises CheckpointError."""
        chosen = options or EngineOptions()
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._on_gpu = self._device.type != "cpu"
        if chosen.n_threads > 0 and not self._on_gpu:
            torch.set_num_threads(chosen.n_threads)
        # What a table's features take is not worth half precision.
        is_static = checkpoint.manifest.kind == STATIC
        dtype = torch.float32 if is_static else self._dtype(chosen)
        backbone = load_backbone(checkpoint).to(self._device, dtype)
        self._backbone = backbone
        if chosen.compile:
            # dynamic: otherwise every new length would be compiled, which takes minutes.
            self._backbone = torch.compile(backbone, dynamic=True)  # type: ignore[assignment]
        self._batch_tokens = chosen.batch_tokens or _GPU_BATCH_TOKENS
        self._longest = min(checkpoint.max_tokens, self._batch_tokens)

    def _dtype(self, options: EngineOptions) -> torch.dtype:
        """auto is float32 on a CPU: one without bfloat16 instructions emulates them, four times
        slower."""
        if options.dtype == "auto":
            return torch.bfloat16 if self._on_gpu else torch.float32
        if options.dtype not in _DTYPES:
            raise CheckpointError(f"there is no dtype {options.dtype!r}: use {', '.join(_DTYPES)}")
        return _DTYPES[options.dtype]

    @property
    def limits(self) -> EngineLimits:
        """One prompt per call on a CPU, where a batch brings no gain and its padding costs time."""
        if not self._on_gpu:
            return EngineLimits(batch_tokens=1, batch_prompts=1)
        return EngineLimits(self._batch_tokens, _GPU_BATCH_PROMPTS, _GPU_WAIT_MS, pads=True)

    @torch.inference_mode()
    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Features (B, F) of B prompts given as token ids. Raises ScoringError."""
        try:
            longest = max(len(ids) for ids in batch)
            ids = torch.zeros((len(batch), longest), dtype=torch.long)  # (B, S)
            mask = torch.zeros_like(ids)
            for row, prompt in enumerate(batch):
                ids[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.long)
                mask[row, : len(prompt)] = 1
            pooled: Tensor = self._backbone(ids.to(self._device), mask.to(self._device))
            features: NDArray[np.float32] = pooled.float().cpu().numpy()
        except (RuntimeError, IndexError, ValueError) as error:
            raise ScoringError("torch failed on a batch") from error
        return features

    def warm_up(self) -> None:
        """Runs once: the first pass of a size chooses kernels and allocates memory."""
        self.features([[0] * 8])
        if self._on_gpu:
            self.features([[0] * self._longest] * max(1, self._batch_tokens // self._longest))

    def close(self) -> None:
        """Frees the GPU's memory."""
        del self._backbone
        if self._on_gpu:
            torch.cuda.empty_cache()
