"""The values that one answer is about: what is believed of them, and how an answer moves all
numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2l_model.local.block import Block
from p2l_model.local.state import State
from p2l_model.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Which numbers the values of one model touch. numbers (n,): among all of the layer, those of
    the head last; by_block: among those of each block, which may have no heads. strength: the
    model's, less the centre; n_axes: of its head."""

    numbers: IntArray
    by_block: Sequence[IntArray]
    strength: float
    n_axes: int

    @classmethod
    def of(cls, state: State, shared: Sequence[int], model: str, levels: Sequence[int]) -> Places:
        """shared, levels: the places of the numbers that all models, and all answers of one source,
        share. Raises KeyError for a model that has not joined."""
        member = state.models[model]
        plain = [*shared, member.at, *levels]
        numbers = np.array([*plain, *range(member.head.start, member.head.stop)], dtype=np.int64)
        by_block = [
            block.places(numbers if block.has_heads else numbers[: len(plain)])
            for block in state.blocks
        ]
        return cls(numbers, by_block, member.strength - state.centre, member.n_axes)


# Which numbers a value is made of, and their factors (n,).
Row = tuple[Places, FloatArray]


class Touched:
    """r values, 1 or 2. rows: of each, its places and the factors (n,) of these. mean (K, r),
    spread (K, r, r): what each component believes of the values."""

    def __init__(self, state: State, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._across: list[tuple[Block, FloatArray]] = []
        means, spreads = [], []
        for k, block in enumerate(state.blocks):
            at, factor = _joined([(one.by_block[k], by) for one, by in rows])
            across = factor @ block.covariance.take(at, axis=1)
            self._across.append((block, across))
            means.append(block.mean.take(at, axis=1) @ factor.T)
            spreads.append(across.take(at, axis=2) @ factor.T)
        self.mean: FloatArray = means[0] if len(means) == 1 else np.concatenate(means)
        self.spread: FloatArray = spreads[0] if len(spreads) == 1 else np.concatenate(spreads)

    def move(self, gradient: FloatArray, gain: FloatArray) -> None:
        """Moves all numbers. gradient (K, r): by which the means move, times their covariances with
        the values; gain (K, r, r): by which the covariance shrinks, likewise."""
        first = 0
        for block, across in self._across:
            own = slice(first, first + len(across))
            first = own.stop
            if across.shape[1] > 1:
                block.mean += (gradient[own, None, :] @ across)[:, 0]
                block.covariance -= np.swapaxes(across, 1, 2) @ (gain[own] @ across)
            else:
                # Twice the half: numpy multiplies matrices faster than a column and a row.
                twice = np.repeat(across, 2, axis=1)
                block.mean += gradient[own] * across[:, 0]
                block.covariance -= np.swapaxes(twice, 1, 2) @ (twice * (0.5 * gain[own]))


def _joined(rows: Sequence[tuple[IntArray, FloatArray]]) -> tuple[IntArray, FloatArray]:
    """The places of all values, and the factors (r, n) of each among them."""
    if len(rows) == 1:
        at, factor = rows[0]
        return at, factor[None, : at.size]
    (at_a, by_a), (at_b, by_b) = rows
    factor = np.zeros((2, at_a.size + at_b.size))
    factor[0, : at_a.size], factor[1, at_a.size :] = by_a[: at_a.size], by_b[: at_b.size]
    return np.concatenate([at_a, at_b]), factor
