"""Overrides of facts in a configuration: `models.NAME.facts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from server.model_facts.types import ModelFacts, Source

# Part of the record -> its cells and their values, by name.
Overrides = Mapping[str, Mapping[str, Any]]
CONFIGURED: Final = "the configuration"


def overridden(facts: ModelFacts, overrides: Overrides) -> ModelFacts:
    """The facts with some cells replaced. Raises TypeError for an unknown cell."""
    given = {part: cells for part, cells in overrides.items() if cells}
    if not given:
        return facts
    parts = {part: replace(getattr(facts, part), **cells) for part, cells in given.items()}
    source = Source(CONFIGURED, datetime.now(UTC).date())
    sources = dict(facts.sources) | dict.fromkeys(given, source)
    return replace(facts, **parts, sources=sources)
