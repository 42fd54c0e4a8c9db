"""Checks a configuration: what the first requests would fail by, and what the operator should
know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from router.catalog import ModelCard
from server.config.configured_facts import book_of
from server.config.settings import Settings
from server.model_facts.book import Book
from server.readiness.addresses import address_problems
from server.readiness.efforts import effort_warnings
from server.readiness.endings import endings
from server.readiness.extras import missing_extras
from server.readiness.nothing_saved import nothing_saved
from server.readiness.prices import price_problems, price_warnings
from server.readiness.routes import hints, is_routed, route_problems
from server.readiness.second_answers import second_answers

__all__ = ["Readiness", "is_routed", "readiness"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Sentences, each with its fix. problems: faults by which requests would fail, so that the
    gateway is not ready. warnings: other faults. notes: what is as configured, and may surprise."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def readiness(
    settings: Settings,
    catalogue: Sequence[ModelCard],
    columns: Sequence[str],
    today: date | None = None,
    book: Book | None = None,
) -> Readiness:
    """The readiness of a gateway with this catalogue. Uses only this machine.

    columns: the names of the leaderboard; empty where it has none. today: UTC (default: today).
    book: the table of facts (default: the one that the configuration uses). Raises ConfigError
    where the file of facts that the configuration names cannot be read.
    """
    day = datetime.now(UTC).date() if today is None else today
    table = book_of(settings) if book is None else book
    return Readiness(
        tuple(_problems(settings, catalogue, columns)),
        (
            *endings(settings, day, table),
            *price_warnings(settings, catalogue),
            *hints(settings, columns),
            *effort_warnings(settings),
            *second_answers(settings),
        ),
        tuple(nothing_saved(settings, catalogue)),
    )


def _problems(
    settings: Settings, catalogue: Sequence[ModelCard], columns: Sequence[str]
) -> Iterator[str]:
    yield from route_problems(settings, catalogue, columns)
    yield from missing_extras(settings)
    yield from price_problems(settings, catalogue)
    yield from address_problems(settings)
