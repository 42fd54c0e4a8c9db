"""The form of rules, which apply by the beginning of a model's name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Final

from server.model_facts.types import (
    Caching,
    Capability,
    Messages,
    Sampling,
    Schemas,
    Source,
    Thinking,
    Tools,
)

CHECKED_ON: Final = date(2026, 11, 29)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The common properties of models whose canonical names have the same beginning. The first
    match in a table wins: longer prefixes come first.

    capabilities, lacks: what these models certainly can and cannot do, whatever a price list says.
    """

    beginnings: tuple[str, ...]
    vendor: str
    source: Source
    sampling: Sampling = field(default_factory=Sampling)
    thinking: Thinking = field(default_factory=Thinking)
    tools: Tools = field(default_factory=Tools)
    schemas: Schemas = field(default_factory=Schemas)
    messages: Messages = field(default_factory=Messages)
    caching: Caching = field(default_factory=Caching)
    capabilities: frozenset[Capability] = frozenset()
    lacks: frozenset[Capability] = frozenset()

    def matches(self, name: str) -> bool:
        """Whether a canonical name belongs to the family."""
        return name.startswith(self.beginnings)


def read(where: str) -> Source:
    """A source that was read when the tables were last checked."""
    return Source(where, CHECKED_ON)
