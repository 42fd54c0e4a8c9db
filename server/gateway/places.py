"""Gives a model without a column on the leaderboard a place by public facts: the column of its
nearest relative by name, or the median's, moved to where the facts put the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal

import numpy as np

from p2l_model.data.model_names import column_finder
from p2l_model.placement.line import Line, fit_line
from p2l_model.placement.place import Placer, bundled_placer
from p2l_model.types import FloatArray, IntArray, PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from server.model_facts.names import canonical

RestsOn = Literal["own", "facts"]
# How much of what a relative's column says of a prompt, beside its difficulty, holds for the model:
# the slope of one deviation on the other over 193 models of 25 families, [0.45, 0.68]
# (studies/study_relatives.py).
BORROWED: Final = 0.57
# Difficulty is read from this many of a leaderboard's best models (p2l_model.local.terms).
_BEST: Final = 40
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
    """The leaderboard column that stands for a model: its own, or one that is moved by `shift`, in
    natural log-odds, to where public facts place the model. sd: the standard deviation of the
    coefficient, 0 for a model's own. basis: what the place rests on, for people."""

    column: str
    rests_on: RestsOn
    shift: float = 0.0
    sd: float = 0.0
    basis: str = "the leaderboard's own column"


class Places:
    """Finds the places of models on one leaderboard.

    names: those of the leaderboard's columns; a model has its own column in whatever spelling of
    its name. marginal: the leaderboard for no prompt in particular, which determines the median
    column and where facts put a model; without it the middle of the list is used, and no column is
    moved.
    placer: None for the one with the facts that the product ships.
    """

    def __init__(
        self,
        names: Sequence[str],
        marginal: PromptLeaderboard | None,
        placer: Placer | None = None,
    ) -> None:
        self.names = frozenset(names)
        self._columns = tuple(names)
        self._column = column_finder(self._columns)
        self._has_coefficients = marginal is not None
        self._strength = _strength(names, marginal)
        by_strength = sorted(self._strength, key=lambda name: (self._strength[name], name))
        self._median = by_strength[len(by_strength) // 2] if by_strength else None
        self._kin = [(name, _kind_of(name)) for name in by_strength]
        self._given_placer = placer
        self._found: dict[tuple[str, str, Prices | None], Place | None] = {}

    def of(self, card: ModelCard) -> Place | None:
        """The place of a card's model: by the name that the leaderboard would have for it, or by
        its provider's if more is known under that. None: the leaderboard is empty."""
        name = card.leaderboard_name
        if name in self.names:
            return Place(name, "own")
        own = self._column(name)
        if own >= 0:
            return Place(self._columns[own], "own")
        key = name, card.upstream_model, card.prices
        if key not in self._found:
            self._found[key] = self._by_facts(card)
        return self._found[key]

    def placed(self, card: ModelCard) -> ModelCard:
        """The card, with the column that stands for its model."""
        place = self.of(card)
        if place is None or place.column == card.leaderboard_name:
            return card
        return replace(
            card,
            leaderboard_name=place.column,
            coefficient_shift=place.shift,
            coefficient_sd=place.sd,
            rests_on="" if place.rests_on == "own" else place.basis,
        )

    def _by_facts(self, card: ModelCard) -> Place | None:
        names = dict.fromkeys((card.leaderboard_name, card.upstream_model))
        price = None if card.prices is None else _per_million(card.prices)
        places = {name: self._placer.place(name, price=price) for name in names}
        name = min(places, key=lambda one: places[one].sd)
        column = self._nearest(name) or self._median
        if column is None:
            return None
        mean, sd = self._line.coefficient(places[name])
        shift = round(mean - self._strength[column], 4) if self._has_coefficients else 0.0
        return Place(column, "facts", shift, round(sd, 4), places[name].basis)

    @cached_property
    def _placer(self) -> Placer:
        """Read when the first model is placed by facts."""
        return bundled_placer() if self._given_placer is None else self._given_placer

    @cached_property
    def _line(self) -> Line:
        """Made when the first model is placed by facts."""
        if not self._has_coefficients:
            return fit_line((), (), self._placer)
        return fit_line(list(self._strength), list(self._strength.values()), self._placer)

    def _nearest(self, name: str) -> str | None:
        """The most similar model of the same company: by size and words, then version, then
        strength."""
        wanted = _kind_of(name)
        kin = [(other, kind) for other, kind in self._kin if kind.house == wanted.house]
        if not kin:
            return None
        return max(kin, key=lambda pair: (_likeness(wanted, pair[1]), self._strength[pair[0]]))[0]


def strongest(usual: FloatArray) -> IntArray:
    """The columns from which a prompt's difficulty is read: the best for no prompt in particular,
    of those that are known. usual (C,): NaN for an unknown one."""
    known = np.flatnonzero(np.isfinite(usual))
    return known[np.argsort(-usual[known], kind="stable")][:_BEST]


def taken_off(
    coefficients: FloatArray, usual: FloatArray, best: IntArray, at: IntArray
) -> FloatArray:
    """What has to be added to the columns `at` (n,) where they are borrowed: their deviation on a
    prompt counts for BORROWED only. coefficients, usual (C,): on the prompt, and on none in
    particular. best: the `strongest` columns."""
    apart = coefficients - usual
    found: FloatArray = (BORROWED - 1.0) * (apart[at] - np.nanmean(apart[best]))
    found[np.isnan(found)] = 0.0
    return found


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


def _per_million(prices: Prices) -> tuple[float, float] | None:
    """USD per million tokens of input and of output; None for a model that costs nothing, which
    says nothing of its strength."""
    pair = float(prices.input_usd_per_mtok), float(prices.output_usd_per_mtok)
    return pair if min(pair) > 0 else None
