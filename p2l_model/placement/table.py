"""The table of facts that the product ships: published results, releases, prices, and the places
that follow from them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Final

from p2l_model.errors import DataError
from p2l_model.placement.kernel import Item
from p2l_model.placement.process import Fitted

FACTS: Final = "facts.json"
RELEASES: Final = "releases.csv"


@dataclass(frozen=True, slots=True)
class Release:
    """The day of a release, or the first day on which the source shows the model. pattern: of
    Name.model, where * stands for anything."""

    pattern: str
    day: date
    source: str


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one column. results: source -> its topics' values, None where missing.
    released: in years. alone: its strength by its results alone, and the variance of that. place:
    the mean and the standard deviation of its strength by all facts."""

    model: str
    effort: str
    results: Mapping[str, Sequence[float | None]]
    released: float | None
    price: tuple[float, float] | None
    alone: tuple[float, float] | None
    place: tuple[float, float]

    @property
    def item(self) -> Item:
        """The column as an item of the kernel."""
        return Item(self.model, self.effort, self.released, self.price)

    @property
    def n_results(self) -> int:
        """The number of published results."""
        return sum(value is not None for values in self.results.values() for value in values)


@dataclass(frozen=True, slots=True)
class Facts:
    """as_of: the day on which the table was made. sources: name -> link, day of the newest result,
    topics. fitted: of the process. rows: by model and effort."""

    as_of: date
    sources: Mapping[str, Mapping[str, Any]]
    fitted: Fitted
    rows: Mapping[tuple[str, str], Row]

    def newest(self, row: Row) -> date | None:
        """The day of the newest result of a row's sources."""
        days = [date.fromisoformat(self.sources[name]["read"]) for name in row.results]
        return max(days, default=None)


@cache
def bundled() -> Facts:
    """The table that the product ships."""
    text = files("p2l_model.placement").joinpath(FACTS).read_text(encoding="utf-8")
    return parse_facts(text, FACTS)


def parse_facts(text: str, source: str) -> Facts:
    """Reads a table. Raises DataError."""
    try:
        found = json.loads(text)
        rows = [_row(one) for one in found["rows"]]
        return Facts(
            as_of=date.fromisoformat(found["as_of"]),
            sources=found["sources"],
            fitted=Fitted(**found["fitted"]),
            rows={(row.model, row.effort): row for row in rows},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{source} is not a table of facts: {error!r}") from error


@cache
def bundled_releases() -> tuple[Release, ...]:
    """The releases that the product ships, in order: the first that matches counts."""
    text = files("p2l_model.placement").joinpath(RELEASES).read_text(encoding="utf-8")
    return parse_releases(text, RELEASES)


def parse_releases(text: str, source: str) -> tuple[Release, ...]:
    """Reads a table of releases. Raises DataError that names the line."""
    found = []
    for number, row in enumerate(csv.DictReader(text.splitlines()), start=2):
        try:
            day = date.fromisoformat(row["date"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{source}:{number}: date must be YYYY-MM-DD") from error
        if not row.get("model") or not str(row.get("source", "")).startswith("https://"):
            raise DataError(f"{source}:{number}: model and source (a link) must be given")
        found.append(Release(row["model"], day, row["source"]))
    return tuple(found)


def release_of(model: str, releases: Sequence[Release]) -> Release | None:
    """The first release whose pattern matches a model. model: as in Name.model."""
    return next((one for one in releases if fnmatchcase(model, one.pattern)), None)


def _row(found: Mapping[str, Any]) -> Row:
    price, alone, place = found.get("price"), found.get("alone"), found["place"]
    return Row(
        model=found["model"],
        effort=found["effort"],
        results=found.get("results", {}),
        released=found.get("released"),
        price=None if price is None else (price[0], price[1]),
        alone=None if alone is None else (alone[0], alone[1]),
        place=(place[0], place[1]),
    )
