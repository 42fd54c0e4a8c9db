"""The strongest of a provider's models by public facts, for a catalogue that nobody wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from p2l_model.placement.features import features, years
from p2l_model.placement.names import parse
from p2l_model.placement.place import Placer, bundled_placer
from server.model_facts.names import canonical

# A version, and neither a size ("120b") nor a date ("2512").
_VERSION: Final = re.compile(r"(?<![\d.])\d{1,2}(?:[.-]\d{1,2}(?!\d))?(?![\db])")
_CURRENT_YEARS: Final = 1.0


class _Key(NamedTuple):
    """strength: placed. usd_per_mtok: of output. Among spellings of one model the shortest is the
    greatest."""

    strength: float
    version: float
    usd_per_mtok: Decimal
    brevity: int
    name: str


class _Line(NamedTuple):
    is_anothers: bool
    family: str
    tiers: tuple[str, ...]
    log_size: float | None


class Sold(NamedTuple):
    """A model that is sold. usd_per_mtok: of input and output, None where unknown. is_anothers:
    whether its seller is not its vendor."""

    name: str
    usd_per_mtok: tuple[Decimal, Decimal] | None
    released: date | None
    is_anothers: bool


def strongest(
    models: Sequence[Sold], n: int, today: date, placer: Placer | None = None
) -> list[int]:
    """The indices of at most n models, the highest placed strength first.

    A vendor's own models come before those that it sells for others. Where there is no room for
    all, the newest model of each line (its family and the words and sizes in its name, such as
    `mini`) of the last year is taken before any other: older versions have more published results,
    so that they are often placed above their successors, and the small models that save money
    would have no place. Equal places go by version, then price, then name. placer: None for the
    bundled facts.
    """
    placed = bundled_placer() if placer is None else placer
    keys = [_key(one, placed) for one in models]
    current = _current(models, keys, today, placed)
    order = sorted(
        range(len(models)),
        key=lambda at: (not models[at].is_anothers, at in current, keys[at]),
        reverse=True,
    )
    return sorted(order[:n], key=lambda at: (not models[at].is_anothers, keys[at]), reverse=True)


def _current(
    models: Sequence[Sold], keys: Sequence[_Key], today: date, placer: Placer
) -> frozenset[int]:
    """The newest of each line, where it is not older than a year; where nothing tells its release,
    where its version is less than one behind the highest of its family."""
    newest: dict[_Line, int] = {}
    highest: dict[str, float] = {}
    for at, one in enumerate(models):
        line = _line(one)
        best = newest.setdefault(line, at)
        if keys[at][1:] > keys[best][1:]:
            newest[line] = at
        highest[line.family] = max(highest.get(line.family, 0.0), keys[at].version)
    since = years(today) - _CURRENT_YEARS
    kept = set()
    for line, at in newest.items():
        released = placer.released(models[at].name, models[at].released)
        if released is None:
            is_current = keys[at].version > highest[line.family] - 1
        else:
            is_current = released >= since
        if is_current:
            kept.add(at)
    return frozenset(kept)


def _key(one: Sold, placer: Placer) -> _Key:
    price = one.usd_per_mtok
    known = None if price is None or min(price) <= 0 else (float(price[0]), float(price[1]))
    strength = placer.place(one.name, price=known, released=one.released).mean
    number = _VERSION.search(canonical(one.name))
    version = float(number[0].replace("-", ".")) if number else 0.0
    dear = Decimal(0) if price is None else price[1]
    return _Key(strength, version, dear, -len(one.name), one.name)


def _line(one: Sold) -> _Line:
    read = parse(one.name)
    said = features(read.model)
    return _Line(one.is_anothers, said.family, said.tiers, said.log_size)
