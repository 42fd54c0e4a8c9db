"""The uncertainty of an aggregated leaderboard, by a bootstrap that resamples blocks of prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from p2l_model.analysis.pairwise import PairModel
from p2l_model.analysis.soft_fit import Fitted, Targets, fit_sums, newton
from p2l_model.analysis.sums import BlockSums, PairSums
from p2l_model.types import FloatArray, PreferenceFamily

N_RESAMPLES: Final = 500
_LEVELS: Final = (0.025, 0.975)
# The size of a replicate's last step, in log-odds: far below the width of any interval.
_TOLERANCE: Final = 1e-4
_MIN_BLOCKS: Final = 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A leaderboard with its uncertainty.

    n: the number of prompts; weight: their total weight; blocks: the number of blocks that have
    prompts; draws: coefficients (R, M) of the bootstrap's replicates, with 0 rows where there are
    too few prompts.
    """

    fitted: Fitted
    n: int
    weight: float
    blocks: int
    draws: FloatArray

    @property
    def ci95(self) -> FloatArray | None:
        """The 95% percentile intervals of the coefficients (M, 2); None without draws."""
        if self.draws.shape[0] == 0:
            return None
        return _interval(self.draws)

    @property
    def rank_ranges(self) -> FloatArray | None:
        """The range (M, 2) that holds each model's rank in 95% of the replicates; None without
        draws."""
        if self.draws.shape[0] == 0:
            return None
        return _interval(ranks_of(self.draws), "nearest")


def estimate(sums: BlockSums, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> Estimate:
    """Fits all blocks, and n_resamples multinomial draws of the blocks.

    A single block, or prompts that are all alike, give no information about the spread; there are
    no draws then. Raises DataError, TrainingError.
    """
    total = sums.total()
    fitted = fit_sums(sums.family, total)
    names = sorted(sums.blocks)
    draws = np.zeros((0, sums.n_models))
    if len(names) >= _MIN_BLOCKS and n_resamples > 0:
        stack, chance = Stack(sums), np.random.default_rng(seed)
        counts = chance.multinomial(len(names), np.full(len(names), 1 / len(names)), n_resamples)
        drawn = (stack.drawn(row) for row in counts.astype(np.float64))
        draws = np.array([refit(sums.family, part, fitted) for part in drawn if part.weight > 0])
    return Estimate(fitted, total.n, total.weight, len(names), draws)


def ranks_of(coefficients: FloatArray) -> FloatArray:
    """Returns the ranks (R, M) of coefficients (R, M), from 1; equal ones keep the given order."""
    order = np.argsort(-coefficients, axis=1, kind="stable")
    ranks: FloatArray = np.argsort(order, axis=1, kind="stable").astype(np.float64) + 1.0
    return ranks


def _interval(draws: FloatArray, method: Literal["linear", "nearest"] = "linear") -> FloatArray:
    """The 95% interval (M, 2) of draws (R, M)."""
    bounds = np.quantile(draws, _LEVELS, axis=0, method=method)
    return np.asarray(bounds, dtype=np.float64).T


class Stack:
    """Blocks as arrays. names: in the order of the counts that `drawn` takes."""

    def __init__(self, sums: BlockSums) -> None:
        self.names = sorted(sums.blocks)
        parts = [sums.blocks[name] for name in self.names]
        self._size = sums.n_models
        self._win = np.array([part.win for part in parts]).reshape(len(parts), -1)
        self._bad: FloatArray | None = None
        if PairModel(sums.family).has_bad:
            self._bad = np.array([part.bad for part in parts]).reshape(len(parts), -1)
        self._numbers = np.array([(part.weight, part.eta, part.gamma) for part in parts])

    def drawn(self, counts: FloatArray) -> PairSums:
        """The sums with each block counted counts (B,) times; heavier blocks keep their weight."""
        weight, eta, gamma = counts @ self._numbers
        square = (self._size, self._size)
        bad = None if self._bad is None else (counts @ self._bad).reshape(square)
        return PairSums((counts @ self._win).reshape(square), bad, weight, eta, gamma)


def refit(family: PreferenceFamily, sums: PairSums, start: Fitted) -> FloatArray:
    """Returns the coefficients (M,), starting from the fit to all prompts: one or two steps
    suffice."""
    model = PairModel(family)
    gamma = sums.gamma / sums.weight if family is PreferenceFamily.BA else 0.0
    parameters = np.append(start.coefficients - start.gamma, start.eta)
    found, _ = newton(model, Targets.of(model, sums), parameters, _TOLERANCE)
    return found[:-1] + gamma
