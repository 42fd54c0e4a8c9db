"""Columns: a model at each of the efforts in `models.NAME.efforts`, by the name `NAME:EFFORT`."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import TYPE_CHECKING

from server.model_facts import EFFORTS, Effort

if TYPE_CHECKING:
    from server.config.settings.providers import ModelSettings


def column_name(model: str, effort: str) -> str:
    """The catalogue name of a column."""
    return f"{model}:{effort}"


def columns_of(
    name: str, model: ModelSettings, taken: Container[str]
) -> tuple[tuple[str, Effort], ...]:
    """The columns of a model with their efforts, the lowest effort first; empty where it has none.

    taken: the names of all models, each of which is that model's own and no column.
    """
    efforts = sorted(model.efforts or (), key=EFFORTS.index)
    named = ((column_name(name, effort), effort) for effort in efforts)
    return tuple((column, effort) for column, effort in named if column not in taken)


def column_names(models: Mapping[str, ModelSettings]) -> Iterator[str]:
    """Yields the names of all columns."""
    for name, model in models.items():
        yield from (column for column, _ in columns_of(name, model, models))
