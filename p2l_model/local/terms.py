"""What a checkpoint says of a prompt, in a few numbers that hold for any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from p2l_model.placement.names import parse
from p2l_model.types import FloatArray

# Difficulty is read from this many of a leaderboard's best models: they are most like today's.
_BEST: Final = 40
# Directions in which prompts differ for the heads of models. Fewer prompts do not tell them, and
# with more models an answer would cost too much.
_AXES: Final = 4
_LEAST_PROMPTS: Final = 100
_MOST_MODELS: Final = 40
_FLAT: Final = 1e-6  # log-odds^2
# Log-odds, and standard deviations along an axis, beyond which nothing more is read from a value: a
# damaged or very odd leaderboard must not decide alone.
_MOST_ODDS: Final = 30.0
_FARTHEST: Final = 4.0


@dataclass(frozen=True, slots=True)
class PromptTerms:
    """difficulty: how much better than usual the best models do, in log-odds. deviation: by name,
    how much better than usual a model does beyond that. axes (A,): what the models' heads read."""

    difficulty: float = 0.0
    deviation: Mapping[str, float] = field(default_factory=dict)
    axes: FloatArray = field(default_factory=lambda: np.zeros(0))

    def scaled(self, trust: float) -> PromptTerms:
        """What is left of it where the checkpoint is believed only so far. trust: in [0, 1]."""
        return PromptTerms(
            trust * self.difficulty,
            {name: trust * value for name, value in self.deviation.items()},
            trust * self.axes,
        )


@dataclass(frozen=True, slots=True, eq=False)
class PromptAxes:
    """Directions (C, A) in which leaderboards of C columns differ beyond what the prompts are
    worth to all, and the coordinates (A,) of the mean. No directions: models have no heads."""

    directions: FloatArray
    mean: FloatArray

    @classmethod
    def none(cls, n_columns: int) -> PromptAxes:
        """No directions."""
        return cls(np.zeros((n_columns, 0)), np.zeros(0))

    @classmethod
    def of(cls, boards: FloatArray, n_models: int) -> PromptAxes:
        """The principal directions of prompts' leaderboards (P, C) in log-odds, along each of which
        these have variance one. Columns of which nothing is said (NaN) of a prompt do not count.
        None where there are too few prompts, or too many models for heads."""
        n_prompts, n_columns = boards.shape
        if n_prompts < _LEAST_PROMPTS or n_models > _MOST_MODELS:
            return cls.none(n_columns)
        known = np.flatnonzero(np.isfinite(boards).all(axis=0))
        boards = np.clip(boards, -_MOST_ODDS, _MOST_ODDS)
        apart = boards[:, known] - boards[:, known].mean(axis=1, keepdims=True)
        spread = np.atleast_2d(np.cov(apart, rowvar=False))
        variances, vectors = np.linalg.eigh(spread)
        largest = np.flatnonzero(variances > _FLAT)[-_AXES:]
        directions = np.zeros((n_columns, largest.size))
        directions[known] = vectors[:, largest] / np.sqrt(variances[largest])
        return cls(directions, boards[:, known].mean(axis=0) @ directions[known])

    @property
    def n(self) -> int:
        """The number of directions."""
        return int(self.mean.size)

    def at(self, board: FloatArray) -> FloatArray:
        """The coordinates (A,) of a prompt by its leaderboard (C,)."""
        if self.n == 0:
            return self.mean
        read = np.where(np.abs(board) <= _MOST_ODDS, board, 0.0) @ self.directions - self.mean
        coordinates: FloatArray = np.minimum(np.maximum(read, -_FARTHEST), _FARTHEST)
        return coordinates


class TermReader:
    """Reads the terms of prompts from a checkpoint's coefficients.

    usual (M,): those for no prompt in particular. columns: name of a model -> its index among them;
    a model without one has no deviation. axes: of leaderboards, None for none.
    """

    def __init__(
        self, usual: FloatArray, columns: Mapping[str, int], axes: PromptAxes | None = None
    ) -> None:
        self._usual = usual
        self._columns = dict(columns)
        self._best = np.argsort(-usual)[:_BEST]
        self._axes = PromptAxes.none(usual.size) if axes is None else axes

    def read(self, coefficients: FloatArray) -> PromptTerms:
        """The terms of a prompt. coefficients (M,): its leaderboard, in natural log-odds."""
        apart = coefficients - self._usual
        difficulty = float(apart[self._best].mean())
        deviation = {name: float(apart[at]) - difficulty for name, at in self._columns.items()}
        return PromptTerms(difficulty, deviation, self._axes.at(coefficients))


def columns_of(names: Sequence[str], known: Sequence[str]) -> dict[str, int]:
    """The columns that stand for models: of the same name, else of the same model in another
    spelling, at the same effort if there is one. known: the names of the columns."""
    places: dict[object, int] = {}
    for at, name in enumerate(known):
        read = parse(name)
        for key in (name, (read.model, read.effort), (read.model,)):
            places.setdefault(key, at)
    found = {}
    for name in names:
        read = parse(name)
        keys = (name, (read.model, read.effort), (read.model,))
        matched = next((key for key in keys if key in places), None)
        if matched is not None:
            found[name] = places[matched]
    return found
