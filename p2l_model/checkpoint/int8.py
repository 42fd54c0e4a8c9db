"""Weights as int8 with one scale per row: a quarter of the size, symmetric, without a zero
point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEVELS = 127.0


def quantize_rows(
    weight: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Returns int8 weights of the same shape (rows, columns) and scales (rows,).

    weight[r] is about quantized[r] * scale[r]; a row of zeros has the scale 1.
    """
    peak = np.abs(weight).max(axis=1)
    scale = np.where(peak > 0, peak / _LEVELS, 1.0).astype(np.float32)
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def dequantize_rows(quantized: NDArray[np.int8], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """The float32 weights (rows, columns) that the int8 weights and scales represent."""
    return quantized.astype(np.float32) * scale[:, None]
