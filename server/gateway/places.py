"""Gives a model without a column on the leaderboard that of its nearest relative by name, or else
the leaderboard's median."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard
from server.model_facts.names import canonical

RestsOn = Literal["own", "relative", "median"]
_NUMBER: Final = re.compile(r"(?<![0-9.])(\d{1,2}(?:[.-]\d{1,2})?)(?![\db])")
_WORD: Final = re.compile(r"[a-z]+")
_SMALL: Final = frozenset(
    {"mini", "nano", "luna", "haiku", "flash", "lite", "small", "tiny", "air", "instant", "turbo"}
)
# Prefixes of names that differ although the models come from one company.
_HOUSES: Final = {
    "chatgpt": "gpt",
    "o": "gpt",
    "gemma": "gemini",
    "mixtral": "mistral",
    "ministral": "mistral",
    "codestral": "mistral",
    "magistral": "mistral",
    "vicuna": "llama",
    "alpaca": "llama",
}


@dataclass(frozen=True, slots=True)
class Place:
    """The leaderboard column that stands for a model, and its origin: the model's own, a
    relative's, or the median of the leaderboard."""

    column: str
    rests_on: RestsOn


class Places:
    """Finds the places of models on one leaderboard.

    columns: the leaderboard's names. marginal: the leaderboard for no prompt in particular, which
    determines the median column; without it the middle of the list is used. names: the columns.
    """

    def __init__(self, columns: Sequence[str], marginal: PromptLeaderboard | None) -> None:
        self.names = frozenset(columns)
        self._strength = _strength(columns, marginal)
        by_strength = sorted(self._strength, key=lambda name: (self._strength[name], name))
        self._median = by_strength[len(by_strength) // 2] if by_strength else None
        self._kin = [(name, _kind_of(name)) for name in by_strength]

    def of(self, name: str) -> Place | None:
        """The place of a model. name: as the leaderboard would spell it. None: the leaderboard is
        empty."""
        if name in self.names:
            return Place(name, "own")
        relative = self._nearest(name)
        if relative is not None:
            return Place(relative, "relative")
        return None if self._median is None else Place(self._median, "median")

    def placed(self, card: ModelCard) -> ModelCard:
        """The card, with the column that stands for its model."""
        place = self.of(card.leaderboard_name)
        if place is None or place.rests_on == "own":
            return card
        return replace(card, leaderboard_name=place.column)

    def _nearest(self, name: str) -> str | None:
        """The most similar model of the same company: by size and words, then version, then
        strength."""
        wanted = _kind_of(name)
        kin = [(other, kind) for other, kind in self._kin if kind.house == wanted.house]
        if not kin:
            return None
        return max(kin, key=lambda pair: (_likeness(wanted, pair[1]), self._strength[pair[0]]))[0]


def leaderboard_of_one(card: ModelCard) -> PromptLeaderboard:
    """The leaderboard of a model that is asked for by name: there is nothing to choose."""
    return PromptLeaderboard(PreferenceFamily.BT, (card.leaderboard_name,), np.zeros(1))


@dataclass(frozen=True, slots=True)
class _Kind:
    house: str
    words: frozenset[str]
    is_small: bool
    version: float


def _kind_of(name: str) -> _Kind:
    bare = canonical(name)
    words = _WORD.findall(bare)
    first = words[0] if words else ""
    number = _NUMBER.search(bare)
    version = float(number[1].replace("-", ".")) if number else 0.0
    return _Kind(_HOUSES.get(first, first), frozenset(words), not _SMALL.isdisjoint(words), version)


def _likeness(one: _Kind, other: _Kind) -> tuple[bool, int, float]:
    shared = len(one.words & other.words)
    return one.is_small == other.is_small, shared, -abs(one.version - other.version)


def _strength(columns: Sequence[str], marginal: PromptLeaderboard | None) -> dict[str, float]:
    if marginal is None:
        return {name: float(-index) for index, name in enumerate(columns)}
    values = np.asarray(marginal.coefficients, dtype=float)
    return dict(zip(marginal.models, values.tolist(), strict=True))
