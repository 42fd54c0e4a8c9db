"""The place of any model: a Gaussian over its strength, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, cached_property

import numpy as np

from p2l_model.placement.features import features, released_in
from p2l_model.placement.kernel import Item
from p2l_model.placement.names import UNSAID, Name, parse
from p2l_model.placement.process import Strengths
from p2l_model.placement.table import Facts, Row, bundled, bundled_releases, release_of
from p2l_model.types import FloatArray

Price = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Place:
    """model, effort: as the table spells them. mean, sd: of the strength, in units of the spread of
    LMArena's models. n_results: published results of the column itself, the newest of the day
    `newest`. n_of_model: results of the same model at any effort. clues: what else it rests on:
    family, version, size, date, price, effort."""

    model: str
    effort: str
    mean: float
    sd: float
    n_results: int
    n_of_model: int
    newest: date | None
    clues: tuple[str, ...]

    @property
    def basis(self) -> str:
        """What the place rests on, for people."""
        clues = ", ".join(self.clues) or "nothing but the mean of all models"
        if self.n_results:
            newest = "" if self.newest is None else f", newest {self.newest:%B %Y}"
            return f"{_count(self.n_results, 'published result')}{newest}"
        if self.n_of_model:
            count = _count(self.n_of_model, "published result")
            return f"{count} at other efforts; {clues}"
        return f"no published result; {clues}"


class Placer:
    """Places models by a table of facts. facts: of the product, unless a test brings its own."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._models: dict[str, list[Row]] = {}
        for row in facts.rows.values():
            self._models.setdefault(row.model, []).append(row)
        self._families = frozenset(features(model).family for model in self._models)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models in the table."""
        return tuple(self._models)

    @cached_property
    def _strengths(self) -> Strengths:
        """Made when the first unknown column is placed: it inverts a matrix of all known ones."""
        known = [row for row in self._facts.rows.values() if row.alone is not None]
        alone = np.array([row.alone for row in known], dtype=float)
        scales = self._facts.fitted.scales
        return Strengths([row.item for row in known], alone[:, 0], alone[:, 1], scales)

    def place(
        self,
        name: str,
        effort: str | None = None,
        price: Price | None = None,
        released: date | None = None,
    ) -> Place:
        """Places a model.

        name: in any spelling. effort: of the column; None takes what the name says. price: USD per
        million tokens of input and output; it counts only for a model that the table does not have.
        released: likewise.
        """
        read = parse(name)
        wanted = read.effort if effort is None else effort
        row = self._facts.rows.get((read.model, wanted))
        if row is None:
            row = self._estimated(self._item(read, wanted, price, released))
        return self._place(row)

    def has_results(self, name: str) -> bool:
        """Whether anything was published of the model, at any effort."""
        return any(row.n_results > 0 for row in self._models.get(parse(name).model, ()))

    def released(self, name: str, released: date | None = None) -> float | None:
        """The release of a model in years (2026.5 is July 2026), by the table, else as given, else
        as its name or the table of releases has it; None where nothing tells it."""
        read = parse(name)
        return self._item(read, read.effort, None, released).released

    def joint(
        self, names: Sequence[str], efforts: Sequence[str | None] | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Means (M,) and the covariance (M, M) of the strengths of M columns. efforts (M,): None
        for what the name says."""
        read = [parse(name) for name in names]
        given = [None] * len(read) if efforts is None else efforts
        pairs = zip(read, given, strict=True)
        items = [self._item(one, one.effort if own is None else own) for one, own in pairs]
        return self._strengths.of(items)

    def _item(
        self, read: Name, effort: str, price: Price | None = None, released: date | None = None
    ) -> Item:
        """The facts of a column. price, released: of a model that the table does not have."""
        for key in ((read.model, effort), (read.model, UNSAID)):
            row = self._facts.rows.get(key)
            if row is not None:
                return replace(row.item, effort=effort)
        found = release_of(read.model, bundled_releases())
        day = released or read.dated or (None if found is None else found.day)
        year = released_in(Name(read.model, effort, None), day)
        return Item(read.model, effort, year, price)

    def _estimated(self, item: Item) -> Row:
        """The row of a column that the table does not have."""
        mean, covariance = self._strengths.of([item])
        sd = math.sqrt(max(float(covariance[0, 0]), 0.0))
        place = float(mean[0]), sd
        return Row(item.model, item.effort, {}, item.released, item.price, None, place)

    def _place(self, row: Row) -> Place:
        of_model = sum(one.n_results for one in self._models.get(row.model, ()))
        return Place(
            model=row.model,
            effort=row.effort,
            mean=row.place[0],
            sd=row.place[1],
            n_results=row.n_results,
            n_of_model=of_model,
            newest=self._facts.newest(row),
            clues=self._clues(row),
        )

    def _clues(self, row: Row) -> tuple[str, ...]:
        said = features(row.model)
        is_kin = said.family in self._families
        clues = {
            f"family {said.family}": is_kin,
            "version": is_kin and said.version is not None,
            "size": said.log_size is not None,
            "date": row.released is not None,
            "price": row.price is not None,
            f"effort {row.effort}": row.effort != UNSAID,
        }
        return tuple(clue for clue, is_known in clues.items() if is_known)


@cache
def bundled_placer() -> Placer:
    """Places models by the table that the product ships."""
    return Placer(bundled())


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
