"""The backbone of a static checkpoint: one vector for each token, whatever stands around it.

Its tensors: `model.words` (V, D) int8; `model.words_scale` (D,), what one step of each unit is
worth; and `model.importance` (V,), how much each token counts in a mean, where not all count alike.

A unit has one scale for all tokens, and not a token one for all units, so that the largest value of
a unit over a prompt can be found among the int8 values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.int8 import quantize_rows
from p2l_model.checkpoint.manifest import MAX, MEAN, MEAN_MAX, Manifest
from p2l_model.checkpoint.tokens import ENDS
from p2l_model.errors import CheckpointError

WORDS: Final = "model.words"
SCALE: Final = "model.words_scale"
IMPORTANCE: Final = "model.importance"
_POOLINGS: Final = (MEAN, MAX, MEAN_MAX)


@dataclass(frozen=True, slots=True)
class StaticTable:
    """words (V, D), scale (D,), importance (V,), all positive; None where all tokens count
    alike."""

    words: NDArray[np.int8]
    scale: NDArray[np.float32]
    importance: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]]) -> StaticTable:
        """The table among a checkpoint's tensors."""
        return cls(tensors[WORDS], tensors[SCALE], tensors.get(IMPORTANCE))

    @classmethod
    def quantised(
        cls, vectors: NDArray[np.float32], importance: NDArray[np.float32] | None = None
    ) -> StaticTable:
        """The table of exact vectors (V, D)."""
        units, scale = quantize_rows(np.ascontiguousarray(vectors.T))
        return cls(np.ascontiguousarray(units.T), scale, importance)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The tensors as they are stored, by name."""
        named: dict[str, NDArray[Any]] = {WORDS: self.words, SCALE: self.scale}
        if self.importance is not None:
            named[IMPORTANCE] = self.importance
        return named

    def features(self, ids: Sequence[int], pooling: str) -> NDArray[np.float32]:
        """The features (F,) of a prompt; all 0 for one without tokens. Raises IndexError for an id
        that is not in the table."""
        if len(ids) == 0:
            return np.zeros(self.scale.size * (2 if pooling == MEAN_MAX else 1), np.float32)
        rows = self.words.take(ids, axis=0)  # (S, D)
        parts = []
        if pooling != MAX:
            parts.append(self._mean(ids, rows) * self.scale)
        if pooling != MEAN:
            parts.append(rows.max(axis=0) * self.scale)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _mean(self, ids: Sequence[int], rows: NDArray[np.int8]) -> NDArray[np.float32]:
        exact = rows.astype(np.float32)
        counts = np.ones(len(ids), np.float32)
        if self.importance is not None:
            counts = self.importance.take(ids)
        mean: NDArray[np.float32] = (counts / counts.sum()) @ exact
        return mean


def static_complaints(
    manifest: Manifest, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> dict[str, bool]:
    """What may be wrong with a static checkpoint, and whether it is. Raises CheckpointError where
    the table is missing."""
    for name in (WORDS, SCALE):
        if name not in tensors:
            raise CheckpointError(f"the tensor {name} is missing; a static checkpoint needs it")
    table = StaticTable.of(tensors)
    shape = (config.get("vocab_size"), config["hidden_size"])
    counts = table.importance
    return {
        f"pooling {manifest.pooling} needs an order of positions; static features have none": (
            manifest.pooling not in _POOLINGS
        ),
        f"prompt_format must be {ENDS} for static features": manifest.prompt_format != ENDS,
        f"{WORDS} must be int8 with vocab_size rows and hidden_size columns": (
            table.words.shape != shape or table.words.dtype != np.int8
        ),
        f"{SCALE} must have hidden_size values": table.scale.shape != shape[1:],
        f"{IMPORTANCE} must have vocab_size positive values": (
            counts is not None and (counts.shape != shape[:1] or bool(np.any(counts <= 0)))
        ),
    }
