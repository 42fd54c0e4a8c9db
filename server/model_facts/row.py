"""A row of the table: one model at one seller, as it is in the file.

Unknown keys are left out: `window`, `max_in`, `max_out` (tokens), `can`, `cannot` (abilities),
`endpoints`, `price` (price_row), `retires` ({on, successor, source, redirected}), `least` (tokens
of the shortest prefix that is cached), `released`, `tokens` (effort -> expected output), `source`,
`read`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from server.model_facts.price_row import price_table
from server.model_facts.price_table import PriceTable
from server.model_facts.types import Capability, Effort, Endpoint, Limits, Retirement, Source

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """The facts in a row."""

    source: Source
    limits: Limits = field(default_factory=Limits)
    can: frozenset[Capability] = frozenset()
    cannot: frozenset[Capability] = frozenset()
    endpoints: frozenset[Endpoint] = frozenset()
    prices: PriceTable | None = None
    retirement: Retirement | None = None
    least_cached_tokens: int | None = None
    released: date | None = None
    expected_output_tokens: Mapping[Effort, int] = field(default_factory=dict)


def read_row(row: Row) -> RowFacts:
    """Reads a row. Raises KeyError, TypeError, ValueError for an invalid cell."""
    source = Source(str(row["source"]), date.fromisoformat(row["read"]))
    price, released = row.get("price"), row.get("released")
    return RowFacts(
        source=source,
        limits=Limits(
            context_window=row.get("window"),
            max_input_tokens=row.get("max_in"),
            max_output_tokens=row.get("max_out"),
            default_output_tokens=row.get("default_out"),
        ),
        can=frozenset(row.get("can", ())),
        cannot=frozenset(row.get("cannot", ())),
        endpoints=frozenset(row.get("endpoints", ())),
        prices=None if price is None else price_table(price),
        retirement=_retirement(row.get("retires"), source),
        least_cached_tokens=row.get("least"),
        released=None if released is None else date.fromisoformat(released),
        expected_output_tokens=dict(row.get("tokens", {})),
    )


def _retirement(cell: Mapping[str, Any] | None, source: Source) -> Retirement | None:
    if cell is None:
        return None
    where = cell.get("source")
    return Retirement(
        on=date.fromisoformat(cell["on"]),
        successor=cell.get("successor"),
        source=source if where is None else Source(where, source.read_on),
        redirected=bool(cell.get("redirected", False)),
    )
