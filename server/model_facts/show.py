"""Shows a record of facts as a document and as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from router.catalog import Prices
from server.model_facts.price_table import PriceTable, Rates, Window
from server.model_facts.types import ModelFacts, Retirement, Source

_PARTS: Final = ("limits", "thinking", "sampling", "tools", "schemas", "messages", "caching")


def as_document(facts: ModelFacts) -> dict[str, Any]:
    """A document for JSON: every cell, money as decimal strings, with the sources of its parts."""
    document = {one.name: _plain(getattr(facts, one.name)) for one in fields(facts)}
    capabilities = facts.capabilities
    known = None if capabilities is None else sorted(capabilities)
    return {"model": document.pop("name"), **document, "capabilities": known}


def as_lines(facts: ModelFacts) -> Iterator[str]:
    """Lines for a terminal: the parts with their informative cells, then the sources."""
    sources: list[Source] = []
    yield f"{facts.name}: {_headline(facts)}"
    for title, cells, source in _parts(facts):
        if source is not None and source not in sources:
            sources.append(source)
        mark = "" if source is None else f" [{sources.index(source) + 1}]"
        yield f"  {title}{mark}"
        for name, value in cells.items():
            yield f"    {name.replace('_', ' ')}: {value}"
    for number, source in enumerate(sources, 1):
        yield f"  [{number}] {source.where}; read {source.read_on}"


def _parts(facts: ModelFacts) -> Iterator[tuple[str, Mapping[str, str], Source | None]]:
    """Yields (title, cells, source)."""
    told = {"can": ", ".join(sorted(facts.can)), "cannot": ", ".join(sorted(facts.lacks))}
    parts: dict[str, Mapping[str, str]] = {"capabilities": {k: v for k, v in told.items() if v}}
    parts |= {part: dict(_told(getattr(facts, part))) for part in _PARTS}
    for part, cells in parts.items():
        if cells:
            yield part, cells, facts.sources.get(part)
    if facts.prices is not None:
        cells = dict(price_lines(facts.prices))
        yield "prices in USD, of tokens per million", cells, facts.sources.get("prices")
    if facts.retirement is not None:
        yield "ends here", _end(facts.retirement), facts.retirement.source
    elsewhere = facts.vendor_retirement
    if elsewhere is not None and elsewhere != facts.retirement:
        yield "ends at its own vendor", _end(elsewhere), elsewhere.source
    if facts.expected_output_tokens:
        cells = {effort: str(tokens) for effort, tokens in facts.expected_output_tokens.items()}
        yield "expected output tokens", cells, None


def price_lines(table: PriceTable) -> Iterator[tuple[str, str]]:
    """Yields (when, what) for every price, one line for each case."""
    yield from _rate_lines("normal", table.normal)
    for day, rates in table.from_day:
        yield from _rate_lines(f"from {day}", rates)
    for tier, rates in table.tiers.items():
        yield from _rate_lines(tier, rates)
    if table.off_peak is not None:
        hours = ", ".join(_window(one) for one in table.off_peak.windows)
        yield f"in the hours {hours} UTC", _prices(table.off_peak.prices)
    if table.cache_write_12h_usd_per_mtok is not None:
        yield "cache write for 12 hours", f"{table.cache_write_12h_usd_per_mtok:f}"
    if table.search_usd:
        sizes = ", ".join(f"{usd:f} ({size})" for size, usd in table.search_usd.items())
        yield f"a web search, each {table.search_per}", sizes
    for region, factor in table.region_factors.items():
        yield f"kept in {region}", f"{factor:f} times as much"


def _rate_lines(name: str, rates: Rates) -> Iterator[tuple[str, str]]:
    yield name, _prices(rates.base)
    for step in rates.long_prompts:
        yield f"{name}, prompts over {step.above_tokens:,} tokens", _prices(step.prices)


def _prices(prices: Prices) -> str:
    """`2 in, 10 out, 0.1 cached in`: the price per token of each kind that has one of its own."""
    known = ((one.name, getattr(prices, one.name)) for one in fields(prices))
    return ", ".join(
        f"{usd:f} {name.removesuffix('_usd_per_mtok').replace('_', ' ')}"
        for name, usd in known
        if usd is not None and name != "request_usd"
    )


def _window(window: Window) -> str:
    days = ",".join(str(day) for day in sorted(window.weekdays))
    first, last = (f"{m // 60:02}:{m % 60:02}" for m in (window.from_minute, window.to_minute))
    return f"{first}-{last} of weekdays {days}"


def _end(ends: Retirement) -> dict[str, str]:
    cells = {"on": ends.on.isoformat(), "successor": ends.successor or "none is named"}
    if ends.redirected:
        cells["from then on"] = "the successor answers, at its own price"
    return cells


def _headline(facts: ModelFacts) -> str:
    said = {
        "model": "in the table",
        "family": "not in the table, but rules for names like this one are known",
        "nothing": "nothing is known of it, so nothing is left out for it",
    }[facts.known]
    parts = [said]
    if facts.vendor is not None:
        parts.append(f"made by {facts.vendor}")
    if facts.seller is not None:
        parts.append(f"served by {facts.seller}")
    if facts.released is not None:
        parts.append(f"released {facts.released}")
    if facts.aliases:
        parts.append("also called " + ", ".join(facts.aliases))
    return "; ".join(parts)


def _told(part: Any) -> Iterator[tuple[str, str]]:
    """The cells with other than the neutral value."""
    for one in fields(part):
        value = getattr(part, one.name)
        if value is not None and value != one.default:
            yield one.name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, frozenset):
        return ", ".join(sorted(str(one) for one in value))
    if isinstance(value, tuple):
        return ", ".join(_text(one) for one in value) or "none"
    return str(value)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, frozenset):
        return sorted(_plain(one) for one in value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value
