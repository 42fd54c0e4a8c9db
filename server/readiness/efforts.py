"""Finds efforts that make no column, since a model has the column's name."""

from __future__ import annotations

from collections.abc import Iterator

from server.config.columns import column_name, columns_of
from server.config.settings import Settings


def effort_warnings(settings: Settings) -> Iterator[str]:
    """A sentence for each effort of a model whose column would have the name of another model."""
    models = settings.models
    for name, model in models.items():
        made = [column for column, _ in columns_of(name, model, models)]
        for column in (column_name(name, effort) for effort in model.efforts or ()):
            if column not in made:
                yield (
                    f"models.{name}.efforts: {column} is a model of its own, so that {name} has no "
                    "column of that effort: give that model another name, or leave the effort out"
                )
