"""How alike two models are by their facts: the covariance of their strengths.

A sum of parts, each with a scale of its own: the time of release, the family and its course in
time, the words for a size in a name, parameters, price, effort, being the same model at another
effort, and the model itself (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
chapter 4: sums and products of covariances are covariances).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.placement.features import TIERS, Features, features
from p2l_model.placement.names import NONE, effort_rank
from p2l_model.types import FloatArray

PARTS: Final = (
    "level", "trend", "time", "family", "family_time", "tier", "family_tier", "line", "size",
    "size_trend", "price", "price_trend", "priced", "effort", "model", "own",
)  # fmt: skip
_MIDDLE_YEAR: Final = 2025.0
# Random walks begin here, before any model of the table.
_START: Final = -2.6
_MIDDLE_LOG_SIZE: Final = 3.5
_MIDDLE_LOG_PRICE: Final = (-0.5, 1.0)
_EARLIEST, _LATEST = 2022.5, 2027.5
_CALENDAR_RIDGE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Item:
    """A column to be placed. model, effort: as in Name. released: in years, None where unknown.
    price: USD per million tokens of input and of output, None where unknown."""

    model: str
    effort: str
    released: float | None = None
    price: tuple[float, float] | None = None


class Calendar:
    """Estimates the release of a model from its family and version, by ridge regression over the
    models whose release is known."""

    def __init__(self, items: Sequence[Item]) -> None:
        known = [item for item in items if item.released is not None]
        self._families = {f: i for i, f in enumerate(sorted({_of(i).family for i in known}))}
        years = np.array([item.released for item in known], dtype=float)
        self._mean = float(years.mean()) if known else _MIDDLE_YEAR
        x = np.array([self._row(_of(item)) for item in known]).reshape(
            len(known), 2 * len(self._families) + 1
        )
        gram = x.T @ x + _CALENDAR_RIDGE * np.eye(x.shape[1])
        self._weights = np.linalg.solve(gram, x.T @ (years - self._mean)) if known else np.zeros(0)

    def of(self, item: Item) -> float:
        """The release of an item in years: as known, else estimated."""
        if item.released is not None:
            return item.released
        row = self._row(_of(item))
        guess = self._mean + (float(row @ self._weights) if self._weights.size else 0.0)
        return min(max(guess, _EARLIEST), _LATEST)

    def _row(self, found: Features) -> FloatArray:
        n = len(self._families)
        row = np.zeros(2 * n + 1)
        at = self._families.get(found.family)
        if at is not None:
            row[at] = 1.0
            row[n + at] = 0.0 if found.version is None else found.version
        row[-1] = float(found.version is None)
        return row


@dataclass(frozen=True, slots=True)
class Table:
    """The facts of N items as arrays. numbers (N, 9): see `table`. tiers (N, T). family, line,
    model: integers that are equal where two items share them."""

    numbers: FloatArray
    tiers: FloatArray
    family: tuple[str, ...]
    line: tuple[str, ...]
    model: tuple[str, ...]
    own: tuple[tuple[str, str], ...]


def table(items: Sequence[Item], calendar: Calendar) -> Table:
    """The columns of numbers: time in years from 2025, log size and whether it is known, log prices
    of input and output and whether they are known, effort, whether it is known, whether it is
    none."""
    found = [_of(item) for item in items]
    tiers = np.zeros((len(items), len(TIERS)))
    for row, one in enumerate(found):
        for tier in one.tiers:
            tiers[row, TIERS.index(tier)] = 1.0
    return Table(
        numbers=np.array(
            [_numbers(i, f, calendar) for i, f in zip(items, found, strict=True)]
        ).reshape(len(items), 9),
        tiers=tiers,
        family=tuple(one.family for one in found),
        line=tuple(f"{one.family}/{'-'.join(one.tiers)}" for one in found),
        model=tuple(item.model for item in items),
        own=tuple((item.model, item.effort) for item in items),
    )


def parts(a: Table, b: Table) -> dict[str, FloatArray]:
    """The covariance (N, K) of each part between the N items of a and the K items of b, at scale
    one."""
    walk = np.minimum(a.numbers[:, 0][:, None], b.numbers[:, 0][None, :]) - _START
    family = _equal(a.family, b.family)
    tier = a.tiers @ b.tiers.T
    moved_a, moved_b = a.numbers[:, :1], b.numbers[:, :1]
    return {
        "level": np.ones(walk.shape),
        "trend": moved_a @ moved_b.T,
        "time": walk,
        "family": family,
        "family_time": family * walk,
        "tier": tier,
        "family_tier": family * tier,
        "line": _equal(a.line, b.line),
        "size": _dot(a, b, 1, 3),
        "size_trend": (a.numbers[:, 1:2] * moved_a) @ (b.numbers[:, 1:2] * moved_b).T,
        "price": _dot(a, b, 3, 5),
        "price_trend": (a.numbers[:, 4:5] * moved_a) @ (b.numbers[:, 4:5] * moved_b).T,
        "priced": _dot(a, b, 5, 6),
        "effort": _dot(a, b, 6, 9),
        "model": _equal(a.model, b.model),
        "own": _equal(a.own, b.own),
    }


def covariance(a: Table, b: Table, scales: Mapping[str, float]) -> FloatArray:
    """The covariance (N, K) of the strengths of two lists of items. scales: of each part."""
    total = np.zeros((len(a.model), len(b.model)))
    for name, part in parts(a, b).items():
        total += scales[name] ** 2 * part
    return total


def _of(item: Item) -> Features:
    return features(item.model)


def _numbers(item: Item, found: Features, calendar: Calendar) -> list[float]:
    rank = effort_rank(item.effort)
    said = not math.isnan(rank)
    size, price = found.log_size, item.price
    return [
        calendar.of(item) - _MIDDLE_YEAR,
        0.0 if size is None else size - _MIDDLE_LOG_SIZE,
        float(size is not None),
        0.0 if price is None else math.log(price[0]) - _MIDDLE_LOG_PRICE[0],
        0.0 if price is None else math.log(price[1]) - _MIDDLE_LOG_PRICE[1],
        float(price is not None),
        (rank - 3) / 2 if said else 0.0,
        float(said),
        float(item.effort == NONE),
    ]


def _equal(a: Sequence[object], b: Sequence[object]) -> FloatArray:
    ids: dict[object, int] = {}
    left = np.array([ids.setdefault(value, len(ids)) for value in a])
    right = np.array([ids.setdefault(value, len(ids)) for value in b])
    same: FloatArray = (left[:, None] == right[None, :]).astype(float)
    return same


def _dot(a: Table, b: Table, first: int, last: int) -> FloatArray:
    product: FloatArray = a.numbers[:, first:last] @ b.numbers[:, first:last].T
    return product
