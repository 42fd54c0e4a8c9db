"""The sufficient statistic of an aggregated leaderboard: sums over prompts of each pair's predicted
probabilities. Sums merge by addition, so that prompts can be read once, in parts, by many
machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from p2l_model.analysis.pairwise import PairModel
from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.errors import DataError
from p2l_model.types import FloatArray, IntArray, PreferenceFamily

# The most numbers that a temporary array of prompts x M x M may have, so that it stays in the CPU's
# cache.
_TEMPORARY: Final = 40_000


@dataclass(slots=True)
class PairSums:
    """Sums over prompts z with weights w, for M models.

    win (M, M): sum of w P_z(a beats b). bad (M, M): sum of w P_z(both bad), None where the family
    has none. weight: sum of w. eta, gamma: sums of w times the raw parameter. n: the number of
    prompts.
    """

    win: FloatArray
    bad: FloatArray | None
    weight: float = 0.0
    eta: float = 0.0
    gamma: float = 0.0
    n: int = 0

    @classmethod
    def empty(cls, family: PreferenceFamily, n_models: int) -> PairSums:
        """The sums over no prompts."""
        shape = (n_models, n_models)
        return cls(np.zeros(shape), np.zeros(shape) if PairModel(family).has_bad else None)

    def merge(self, other: PairSums) -> None:
        """Adds the other's prompts."""
        self.win += other.win
        if self.bad is not None and other.bad is not None:
            self.bad += other.bad
        self.weight += other.weight
        self.eta += other.eta
        self.gamma += other.gamma
        self.n += other.n


@dataclass(slots=True)
class BlockSums:
    """Sums by block of prompts.

    A prompt's block depends on its text (`block_of`), so that the blocks of two machines merge;
    resampling blocks is a fast way to resample prompts.
    """

    family: PreferenceFamily
    n_models: int
    blocks: dict[int, PairSums] = field(default_factory=dict)

    def add(self, outputs: HeadOutputs, weight: FloatArray, block: IntArray) -> None:
        """Adds P prompts with weight (P,) and block (P,). Raises ScoringError."""
        model = PairModel(self.family)
        x, t = model.strengths(outputs), model.tie_factor(outputs.eta)
        step = max(1, _TEMPORARY // self.n_models**2)
        for name in np.unique(block):
            sums = self._block(int(name))
            rows = np.flatnonzero(block == name)
            for start in range(0, rows.size, step):
                some = rows[start : start + step]
                sums.win += np.tensordot(weight[some], model.win(x[some], t[some]), 1)
                if sums.bad is not None:
                    sums.bad += np.tensordot(weight[some], model.bad(x[some]), 1)
            sums.weight += float(weight[rows].sum())
            sums.eta += float(weight[rows] @ outputs.eta[rows])
            sums.gamma += float(weight[rows] @ outputs.gamma[rows])
            sums.n += rows.size

    def merge(self, other: BlockSums) -> None:
        """Adds the other's prompts. Raises DataError where its family or size differs."""
        if (self.family, self.n_models) != (other.family, other.n_models):
            raise DataError("these sums are of different checkpoints and cannot be merged")
        for name, sums in other.blocks.items():
            self._block(name).merge(sums)

    def total(self) -> PairSums:
        """The sums over all blocks."""
        total = PairSums.empty(self.family, self.n_models)
        for name in sorted(self.blocks):
            total.merge(self.blocks[name])
        return total

    def arrays(self) -> dict[str, FloatArray]:
        """Arrays for np.savez, stacked in the order of the blocks' names."""
        names = sorted(self.blocks)
        parts = [self.blocks[name] for name in names]
        numbers = [
            (name, p.weight, p.eta, p.gamma, p.n) for name, p in zip(names, parts, strict=True)
        ]
        stacked = {"numbers": np.array(numbers, dtype=np.float64).reshape(-1, 5)}
        stacked["win"] = np.array([part.win for part in parts])
        if PairModel(self.family).has_bad:
            stacked["bad"] = np.array([part.bad for part in parts])
        return stacked

    @classmethod
    def from_arrays(
        cls, family: PreferenceFamily, n_models: int, arrays: Mapping[str, FloatArray]
    ) -> BlockSums:
        """The inverse of `arrays`."""
        sums = cls(family, n_models)
        for row, (name, weight, eta, gamma, n) in enumerate(arrays["numbers"]):
            bad = arrays["bad"][row].copy() if "bad" in arrays else None
            win = arrays["win"][row].copy()
            sums.blocks[int(name)] = PairSums(
                win, bad, float(weight), float(eta), float(gamma), int(n)
            )
        return sums

    def _block(self, name: int) -> PairSums:
        if name not in self.blocks:
            self.blocks[name] = PairSums.empty(self.family, self.n_models)
        return self.blocks[name]
