"""Renews the user's table of facts from a file, and reports the changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import orjson

from server.model_facts.book import Book
from server.model_facts.build import document_of, written
from server.model_facts.litellm_map import MapError, read_map
from server.model_facts.row import read_row

# Cells that are not facts about the model.
_UNTOLD: Final = frozenset({"read", "source"})


@dataclass(frozen=True, slots=True)
class Change:
    """A cell that differs: its path in the row, and its content before and after; None where it did
    not or does not exist."""

    seller: str
    model: str
    cell: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The differences between two tables. added, removed: (seller, model)."""

    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    changed: tuple[Change, ...]


def table_from(path: Path, sha256: str | None, today: date) -> dict[str, Any]:
    """The document from a file: LiteLLM's map, its wheel, or a table of facts of ours.

    today: the day on which its rows count as read. sha256: of the file, checked where it is given.
    Raises OSError, or MapError where the file is none of these.
    """
    ours = None if path.suffix == ".whl" else _table_of_ours(path)
    document = document_of(read_map(path, sha256), today) if ours is None else ours
    _check(document, path)
    return document


def difference(before: Book, after: Mapping[str, Any]) -> Difference:
    """What changes when the table becomes the document."""
    new = Book(after, "new")
    old_names, new_names = set(before.models()), set(new.models())
    changed = (
        change
        for seller, model in sorted(old_names & new_names)
        for change in _changes(seller, model, before, new)
    )
    return Difference(
        added=tuple(sorted(new_names - old_names)),
        removed=tuple(sorted(old_names - new_names)),
        changed=tuple(changed),
    )


def write(document: Mapping[str, Any], path: Path) -> None:
    """Writes the file as a whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".new")
    half.write_bytes(written(document))
    half.replace(path)


def _table_of_ours(path: Path) -> dict[str, Any] | None:
    try:
        document = orjson.loads(path.read_bytes())
    except ValueError:
        return None
    is_ours = isinstance(document, dict) and {"as_of", "rows"} <= document.keys()
    return document if is_ours else None


def _check(document: Mapping[str, Any], path: Path) -> None:
    """Checks that every row can be read. Raises MapError."""
    try:
        book = Book(document, str(path))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MapError(f"{path} is not a table of facts: {error!r}") from None
    if not any(True for _ in book.models()):
        raise MapError(f"{path}: no model of a known provider is in it")
    for seller, model in book.models():
        try:
            read_row(book.row(seller, model) or {})
        except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError) as error:
            raise MapError(
                f"{path}: the row of {model} at {seller} is not one: {error!r}"
            ) from None


def _changes(seller: str, model: str, before: Book, after: Book) -> Iterator[Change]:
    old = dict(_flat(before.row(seller, model) or {}))
    new = dict(_flat(after.row(seller, model) or {}))
    for cell in sorted(old.keys() | new.keys()):
        if old.get(cell) != new.get(cell):
            yield Change(seller, model, cell, old.get(cell), new.get(cell))


def _flat(row: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in row.items():
        if not path and key in _UNTOLD:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        elif isinstance(value, list):
            yield f"{path}{key}", ", ".join(str(one) for one in value)
        else:
            yield f"{path}{key}", str(value)
