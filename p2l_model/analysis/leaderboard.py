"""The leaderboard for users of the library: rows, best first, with intervals where there are
any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from p2l_model.analysis.bootstrap import Estimate, ranks_of
from p2l_model.preference import log_probabilities, outcomes
from p2l_model.types import FloatArray, Outcome, PreferenceFamily, PromptLeaderboard


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """A model's row.

    coefficient: natural log-odds. win_rate: against a model drawn uniformly from the leaderboard.
    ci95 and rank_range: 95% over resampled prompts, None for a single prompt.
    """

    model: str
    rank: int
    coefficient: float
    win_rate: float
    ci95: tuple[float, float] | None = None
    rank_range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Models by strength, for one prompt or for many.

    n_prompts: how many prompts it is made from. eta, gamma: the family's raw tie parameters, None
    where it has none.
    """

    family: PreferenceFamily
    rows: tuple[LeaderboardRow, ...]
    n_prompts: int = 1
    eta: float | None = None
    gamma: float | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[LeaderboardRow]:
        return iter(self.rows)

    def __getitem__(self, model: str) -> LeaderboardRow:
        """The row of a model. Raises KeyError where it is not on the leaderboard."""
        for row in self.rows:
            if row.model == model:
                return row
        raise KeyError(model)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, best first."""
        return tuple(row.model for row in self.rows)

    def top(self, n: int) -> tuple[LeaderboardRow, ...]:
        """The best n."""
        return self.rows[:n]

    def probabilities(self, model_a: str, model_b: str) -> dict[Outcome, float]:
        """The probability of each outcome when model_a meets model_b. Raises KeyError."""
        a, b = self[model_a].coefficient, self[model_b].coefficient
        eta, gamma = self.eta or 0.0, self.gamma or 0.0
        logs = log_probabilities(self.family, a, b, eta, gamma)
        return dict(zip(outcomes(self.family), np.exp(logs).tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """The JSON that `p2l-router aggregate --json` prints."""
        rows = [asdict(row) for row in self.rows]
        return {
            "object": "leaderboard",
            "family": self.family.value,
            "n_prompts": self.n_prompts,
            "data": rows,
            "eta": self.eta,
            "gamma": self.gamma,
        }


def uniform_win_rates(coefficients: FloatArray) -> FloatArray:
    """The mean of sigmoid(own - other) over all M opponents (M,)."""
    difference = coefficients[:, None] - coefficients[None, :]
    rates: FloatArray = 0.5 * (1.0 + np.tanh(0.5 * difference)).mean(axis=1)
    return rates


def of_prompt(board: PromptLeaderboard) -> Leaderboard:
    """The leaderboard of one prompt, made from a scorer's."""
    rows = rows_of(board.models, board.coefficients, None, None)
    return Leaderboard(board.family, rows, 1, board.eta, board.gamma)


def of_estimate(family: PreferenceFamily, models: Sequence[str], estimate: Estimate) -> Leaderboard:
    """The leaderboard of many prompts."""
    fitted = estimate.fitted
    rows = rows_of(models, fitted.coefficients, estimate.ci95, estimate.rank_ranges)
    with_tie = family not in (PreferenceFamily.BT, PreferenceFamily.BT_TIE)
    with_level = family is PreferenceFamily.BA
    return Leaderboard(
        family,
        rows,
        estimate.n,
        fitted.eta if with_tie else None,
        fitted.gamma if with_level else None,
    )


def rows_of(
    models: Sequence[str],
    coefficients: FloatArray,
    ci95: FloatArray | None,
    ranges: FloatArray | None,
) -> tuple[LeaderboardRow, ...]:
    """Rows, best first, of models with coefficients (M,), ci95 (M, 2) and rank ranges (M, 2)."""
    ranks = ranks_of(coefficients[None, :])[0]
    rates = uniform_win_rates(coefficients)
    return tuple(
        LeaderboardRow(
            model=models[index],
            rank=int(ranks[index]),
            coefficient=float(coefficients[index]),
            win_rate=float(rates[index]),
            ci95=None if ci95 is None else (float(ci95[index, 0]), float(ci95[index, 1])),
            rank_range=None if ranges is None else (int(ranges[index, 0]), int(ranges[index, 1])),
        )
        for index in np.argsort(ranks)
    )
