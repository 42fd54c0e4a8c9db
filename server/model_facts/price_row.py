"""Prices as they lie in the table: decimal strings, USD per million tokens.

{"in", "out", "cached", "write", "write_1h", "write_12h", "reasoning", "audio_in", "audio_out"},
"above": {tokens: the same}, "tiers": {tier: the same, with its own "above"}, "hours": {"windows":
[[weekdays, from_minute, to_minute]], prices}, "from": {day: the same}, "search": {size: USD},
"search_per", "regions": {region: factor}.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from router.catalog import Prices
from server.model_facts.price_table import LongPrompt, OffPeak, PriceTable, Rates, Window

# Our key -> the router's field.
PRICE_KEYS: Final = {
    "in": "input_usd_per_mtok",
    "out": "output_usd_per_mtok",
    "cached": "cached_input_usd_per_mtok",
    "write": "cache_write_usd_per_mtok",
    "write_1h": "cache_write_1h_usd_per_mtok",
    "reasoning": "reasoning_usd_per_mtok",
    "audio_in": "audio_input_usd_per_mtok",
    "audio_out": "audio_output_usd_per_mtok",
}
Cell = Mapping[str, Any]


def price_table(cell: Cell) -> PriceTable:
    """Reads a price table. Raises KeyError, TypeError, ValueError, ArithmeticError for an invalid
    one."""
    hours = cell.get("hours")
    later = sorted(cell.get("from", {}).items())
    twelve = cell.get("write_12h")
    return PriceTable(
        normal=_rates(cell),
        tiers={tier: _rates(one) for tier, one in cell.get("tiers", {}).items()},
        off_peak=None if hours is None else OffPeak(_windows(hours), _prices(hours)),
        from_day=tuple((date.fromisoformat(day), _rates(one)) for day, one in later),
        search_usd={size: Decimal(usd) for size, usd in cell.get("search", {}).items()},
        search_per=str(cell.get("search_per", "query")),
        cache_write_12h_usd_per_mtok=None if twelve is None else Decimal(twelve),
        region_factors={name: Decimal(one) for name, one in cell.get("regions", {}).items()},
    )


def _rates(cell: Cell) -> Rates:
    steps = sorted(cell.get("above", {}).items(), key=lambda step: int(step[0]))
    return Rates(_prices(cell), tuple(LongPrompt(int(n), _prices(one)) for n, one in steps))


def _prices(cell: Cell) -> Prices:
    return Prices(**{ours: Decimal(cell[key]) for key, ours in PRICE_KEYS.items() if key in cell})


def _windows(hours: Cell) -> tuple[Window, ...]:
    return tuple(Window(frozenset(days), first, last) for days, first, last in hours["windows"])
