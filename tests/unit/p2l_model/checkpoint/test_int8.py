"""int8 rows: the error bound holds, the worst cases survive."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from p2l_model.checkpoint.int8 import dequantize_rows, quantize_rows


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6))
def test_a_weight_is_at_most_half_a_step_off(seed: int, size: float) -> None:
    weight = np.random.default_rng(seed).normal(0, size, (5, 17)).astype(np.float32)
    quantized, scale = quantize_rows(weight)
    assert quantized.dtype == np.int8
    assert scale.shape == (5,)
    off = np.abs(dequantize_rows(quantized, scale) - weight)
    assert np.all(off <= scale[:, None] * 0.5001)


def test_each_row_has_its_own_scale() -> None:
    weight = np.array([[1000.0, -1000.0], [0.001, -0.0005]], dtype=np.float32)
    quantized, scale = quantize_rows(weight)
    assert np.abs(quantized).max(axis=1).tolist() == [127, 127]
    np.testing.assert_allclose(dequantize_rows(quantized, scale), weight, rtol=0.01)


def test_a_row_of_zeros_stays_zero() -> None:
    quantized, scale = quantize_rows(np.zeros((2, 3), dtype=np.float32))
    assert scale.tolist() == [1.0, 1.0]
    assert not dequantize_rows(quantized, scale).any()


def test_quantising_again_changes_nothing() -> None:
    weight = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    once = dequantize_rows(*quantize_rows(weight))
    np.testing.assert_allclose(dequantize_rows(*quantize_rows(once)), once, rtol=1e-6)
