"""How sure an aggregated leaderboard is: prompts are resampled, by block, and the fit repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from p2l_model.analysis.pairwise import PairModel
from p2l_model.analysis.soft_fit import Fitted, Targets, fit_sums, newton
from p2l_model.analysis.sums import BlockSums, PairSums
from p2l_model.types import FloatArray, PreferenceFamily

N_RESAMPLES: Final = 500
_LEVELS: Final = (0.025, 0.975)
# Of a replicate's last step, in log-odds: far below any interval's width.
_TOLERANCE: Final = 1e-4
_MIN_BLOCKS: Final = 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A leaderboard with its uncertainty. n: prompts; weight: theirs in all; blocks: with prompts.

    draws: (R, M) coefficients of the bootstrap's replicates, 0 rows where prompts are too few.
    """

    fitted: Fitted
    n: int
    weight: float
    blocks: int
    draws: FloatArray

    @property
    def ci95(self) -> FloatArray | None:
        """(M, 2) percentile intervals of the coefficients; None without draws."""
        if self.draws.shape[0] == 0:
            return None
        return _interval(self.draws)

    @property
    def rank_ranges(self) -> FloatArray | None:
        """(M, 2): 95% of the replicates have the model's rank within; None without draws."""
        if self.draws.shape[0] == 0:
            return None
        return _interval(ranks_of(self.draws), "nearest")


def estimate(sums: BlockSums, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> Estimate:
    """The fit to all blocks and to n_resamples multinomial draws of them. One block, or prompts
    that are all alike, say nothing about spread: no draws. Raises DataError, TrainingError."""
    total = sums.total()
    fitted = fit_sums(sums.family, total)
    names = sorted(sums.blocks)
    draws = np.zeros((0, sums.n_models))
    if len(names) >= _MIN_BLOCKS and n_resamples > 0:
        parts = [sums.blocks[name] for name in names]
        replicates = _replicates(sums.family, parts, np.random.default_rng(seed), n_resamples)
        draws = np.array([_refit(sums.family, part, fitted) for part in replicates])
    return Estimate(fitted, total.n, total.weight, len(names), draws)


def ranks_of(coefficients: FloatArray) -> FloatArray:
    """(R, M) -> ranks from 1 (R, M); equal coefficients in the order given."""
    order = np.argsort(-coefficients, axis=1, kind="stable")
    ranks: FloatArray = np.argsort(order, axis=1, kind="stable").astype(np.float64) + 1.0
    return ranks


def _interval(draws: FloatArray, method: Literal["linear", "nearest"] = "linear") -> FloatArray:
    """(R, M) -> (M, 2)."""
    bounds = np.quantile(draws, _LEVELS, axis=0, method=method)
    return np.asarray(bounds, dtype=np.float64).T


def _replicates(
    family: PreferenceFamily, parts: list[PairSums], chance: np.random.Generator, n: int
) -> Iterator[PairSums]:
    """Sums of blocks drawn with replacement; a block that is lighter or heavier stays so."""
    size = parts[0].win.shape[0]
    win = np.array([part.win for part in parts]).reshape(len(parts), -1)
    bad = None
    if PairModel(family).has_bad:
        bad = np.array([part.bad for part in parts]).reshape(len(parts), -1)
    numbers = np.array([(part.weight, part.eta, part.gamma) for part in parts])
    shares = np.full(len(parts), 1 / len(parts))
    for counts in chance.multinomial(len(parts), shares, size=n).astype(np.float64):
        weight, eta, gamma = counts @ numbers
        if weight > 0:
            drawn = None if bad is None else (counts @ bad).reshape(size, size)
            yield PairSums((counts @ win).reshape(size, size), drawn, weight, eta, gamma)


def _refit(family: PreferenceFamily, sums: PairSums, start: Fitted) -> FloatArray:
    """(M,) from the whole fit's parameters on: a step or two."""
    model = PairModel(family)
    gamma = sums.gamma / sums.weight if family is PreferenceFamily.BA else 0.0
    parameters = np.append(start.coefficients - start.gamma, start.eta)
    found, _ = newton(model, Targets.of(model, sums), parameters, _TOLERANCE)
    return found[:-1] + gamma
