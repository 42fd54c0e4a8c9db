"""What the router derives from a leaderboard alone, whatever else a request asks.

The result is kept for leaderboards that come again: a fixed one, that of a remembered prompt, or
the marginal one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from operator import is_
from typing import Final, NamedTuple

import numpy as np

from p2l_model.types import FloatArray, PromptLeaderboard
from router.catalog import ModelCard
from router.objective import (
    Objective,
    objective_values,
    opponent_weights,
    posterior_scales,
    win_rates,
)

_KEPT: Final = 32
_NONE: Final[Mapping[str, tuple[float, float]]] = {}


class Opponents(NamedTuple):
    """The opponents' coefficients (K,) and their weights (K,), which sum to 1."""

    coefficients: FloatArray
    weights: FloatArray


class Standing:
    """A leaderboard's models with their values.

    column: model -> its index in the lists. Each list has one number per model of the leaderboard,
    NaN where there is none. win_rates, values: of the objective; computed when first asked for,
    since nobody asks where all cards stand elsewhere than their columns. output_tokens: None where
    the leaderboard predicts no lengths.
    """

    __slots__ = (
        "_rates",
        "_solve",
        "_values",
        "coefficients",
        "column",
        "kept",
        "opponents",
        "output_tokens",
    )

    def __init__(
        self, leaderboard: PromptLeaderboard, opponents: Opponents, objective: Objective
    ) -> None:
        lengths = leaderboard.expected_output_tokens
        self.column = _column(leaderboard.models)
        self.coefficients: list[float] = leaderboard.coefficients.tolist()
        self.output_tokens: list[float] | None = None if lengths is None else lengths.tolist()
        self.opponents = opponents
        self._solve = partial(_win_rates, leaderboard, opponents)
        self._rates: list[float] | None = None
        self._values: list[float] | None = None
        # For which shifts and catalogue worth_of_shifted found what, the last time.
        self.kept: tuple[tuple[object, ...], dict[str, Worth]] | None = None
        if objective is not Objective.WIN_RATE:
            self._values = objective_values(objective, leaderboard).tolist()

    @property
    def win_rates(self) -> list[float]:
        """The win rates."""
        if self._rates is None:
            self._rates = self._solve().tolist()
        return self._rates

    @property
    def values(self) -> list[float]:
        """The values of the objective."""
        return self.win_rates if self._values is None else self._values


class Worth(NamedTuple):
    """A model's coefficient, win rate and value of the objective; NaN where there is none."""

    coefficient: float
    win_rate: float
    value: float


UNKNOWN: Final = Worth(math.nan, math.nan, math.nan)


def worth_of_shifted(
    known: Standing,
    catalogue: Sequence[ModelCard],
    objective: Objective,
    shifts: Mapping[str, tuple[float, float]] = _NONE,
    value_shifts: Mapping[str, tuple[float, float]] = _NONE,
) -> dict[str, Worth]:
    """What the cards that do not stand where their column does are worth, by catalogue name; a card
    that the leaderboard does not have is missing.

    shifts: catalogue name -> what is added to the coefficient, and the standard deviation s of the
    sum; a card without one has its own coefficient_shift and coefficient_sd. value_shifts: the same
    for values that are no win rates, by default shifts. The opponents stay the same. A value that
    is a probability is moved on the scale of log-odds, as the coefficient is, so that it stays
    between 0 and 1 and keeps its order. All values are means over the Gaussian
    (`posterior_scales`). The result is kept for the next request with the same leaderboard.
    """
    kept, asked = known.kept, (shifts or None, value_shifts or None, catalogue)
    if kept is not None and all(map(is_, kept[0], asked)):
        return kept[1]
    found = _worth_of_shifted(known, catalogue, objective, shifts, value_shifts)
    if isinstance(catalogue, tuple):
        known.kept = asked, found
    return found


def _worth_of_shifted(
    known: Standing,
    catalogue: Sequence[ModelCard],
    objective: Objective,
    shifts: Mapping[str, tuple[float, float]],
    value_shifts: Mapping[str, tuple[float, float]],
) -> dict[str, Worth]:
    cards = [
        card
        for card in catalogue
        if is_moved(card, shifts) and card.leaderboard_name in known.column
    ]
    if not cards:
        return {}
    places = [known.column[card.leaderboard_name] for card in cards]
    moves = [
        shifts.get(card.name) or (card.coefficient_shift, card.coefficient_sd) for card in cards
    ]
    shift, sd = np.array(moves).T
    coefficients = np.array([known.coefficients[k] for k in places]) + shift
    scales = posterior_scales(sd) if sd.any() else None
    rates = win_rates(coefficients, *known.opponents, scales).tolist()
    values = rates
    if objective is not Objective.WIN_RATE:
        own = [value_shifts.get(card.name) or by for card, by in zip(cards, moves, strict=True)]
        scaled = posterior_scales(np.array([sd for _, sd in own])).tolist()
        rows = zip(places, own, scaled, strict=True)
        values = [_moved(known.values[k], by, scale) for k, (by, _), scale in rows]
    named = zip(cards, coefficients.tolist(), rates, values, strict=True)
    return {card.name: Worth(*row) for card, *row in named}


def is_moved(card: ModelCard, shifts: Mapping[str, tuple[float, float]]) -> bool:
    """Whether a card stands elsewhere than its column, or less certainly."""
    return card.coefficient_shift != 0.0 or card.coefficient_sd > 0.0 or card.name in shifts


def _moved(value: float, shift: float, scale: float) -> float:
    if not 0.0 < value < 1.0:
        return value
    logit = math.log(value) - math.log1p(-value)
    return 0.5 * (1.0 + math.tanh(0.5 * scale * (logit + shift)))


def standing(
    leaderboard: PromptLeaderboard, opponents: Mapping[str, float] | None, objective: Objective
) -> Standing:
    """Computes a leaderboard's values, or takes them from the cache.

    opponents: leaderboard name -> weight, None for all models alike. Raises InvalidRoutingError.
    """
    named = None if opponents is None else tuple(opponents.items())
    return _standing(leaderboard, named, objective)


@lru_cache(maxsize=_KEPT)
def _standing(
    leaderboard: PromptLeaderboard,
    named: tuple[tuple[str, float], ...] | None,
    objective: Objective,
) -> Standing:
    given = None if named is None else dict(named)
    opponents = Opponents(*opponent_weights(leaderboard.models, leaderboard.coefficients, given))
    return Standing(leaderboard, opponents, objective)


@lru_cache(maxsize=_KEPT)
def _column(models: tuple[str, ...]) -> Mapping[str, int]:
    """Cached: all leaderboards of a checkpoint have the same models."""
    return {name: index for index, name in enumerate(models)}


def _win_rates(leaderboard: PromptLeaderboard, opponents: Opponents) -> FloatArray:
    """W* q of all M models of the leaderboard (M,), NaN where there is no coefficient."""
    coefficients = leaderboard.coefficients
    if opponents.coefficients.size == coefficients.size:
        # Every model is its own opponent: using one array lets its blocks be computed only once.
        coefficients = opponents.coefficients
        return win_rates(coefficients, coefficients, opponents.weights)
    known = np.isfinite(coefficients)
    rates = np.full(coefficients.size, np.nan)
    rates[known] = win_rates(coefficients[known], *opponents)
    return rates
