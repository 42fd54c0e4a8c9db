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


@dataclass(frozen=True, slots=True)
class PromptTerms:
    """difficulty: how much better than usual the best models do, in log-odds. deviation: by name,
    how much better than usual a model does beyond that. axes (A,): the prompt's coordinates."""

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


class TermReader:
    """Reads the terms of prompts from a checkpoint's coefficients.

    usual (M,): those for no prompt in particular. columns: name of a model -> its index among them;
    a model without one has no deviation. axes (M, A): directions of leaderboards, None for none.
    """

    def __init__(
        self, usual: FloatArray, columns: Mapping[str, int], axes: FloatArray | None = None
    ) -> None:
        self._usual = usual
        self._columns = dict(columns)
        self._best = np.argsort(-usual)[:_BEST]
        self._axes = np.zeros((usual.size, 0)) if axes is None else axes

    @property
    def n_axes(self) -> int:
        """The number of axes."""
        return int(self._axes.shape[1])

    def read(self, coefficients: FloatArray) -> PromptTerms:
        """The terms of a prompt. coefficients (M,): its leaderboard, in natural log-odds."""
        apart = coefficients - self._usual
        difficulty = float(apart[self._best].mean())
        deviation = {name: float(apart[at]) - difficulty for name, at in self._columns.items()}
        return PromptTerms(difficulty, deviation, (apart - difficulty) @ self._axes)


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
