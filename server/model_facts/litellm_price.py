"""Converts prices in LiteLLM's map, USD per token by a hundred keys, to the form of price_row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

# LiteLLM's key -> ours.
_KEYS: Final = {
    "input_cost_per_token": "in",
    "output_cost_per_token": "out",
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "write",
    "cache_creation_input_token_cost_above_1hr": "write_1h",
    "cache_creation_input_token_cost_above_12hr": "write_12h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_audio_token": "audio_out",
}
_TIERS: Final = {"_flex": "flex", "_priority": "priority", "_batches": "batch"} | {
    "_fast": "fast",
    "_ultrafast": "ultrafast",
}
_ABOVE: Final = re.compile(r"_above_(\d+)k_tokens")
_SIZES: Final = {f"search_context_size_{size}": size for size in ("low", "medium", "high")}
_UPLIFT: Final = "regional_processing_uplift_multiplier_"
_FASTER: Final = "fast"


def price_cell(row: Mapping[str, Any], seller: str) -> dict[str, Any] | None:
    """The price cell; None where there is no price of input and output."""
    tables = _tables(row, seller)
    normal = tables.pop("", {})
    if "in" not in normal or "out" not in normal:
        normal = _stepped(row)
    if "in" not in normal or "out" not in normal:
        return None
    cell = dict(normal)
    tiers = {tier: table for tier, table in tables.items() if {"in", "out"} <= table.keys()}
    tiers |= _faster(row, normal)
    if seller in ("openai", "azure") and "priority" in tiers:
        tiers.setdefault(_FASTER, tiers["priority"])
    extra = {
        "tiers": tiers,
        "hours": _hours(row.get("off_peak_pricing")),
        "search": _search(row.get("search_context_cost_per_query")),
        "regions": _regions(row),
    }
    return cell | {key: value for key, value in extra.items() if value}


def per_mtok(usd_per_token: Any) -> str:
    """A price per token as a plain decimal per million."""
    return plain(Decimal(str(usd_per_token)) * 1_000_000)


def plain(value: Decimal) -> str:
    """A plain decimal without an exponent and without trailing zeros."""
    return f"{value.normalize():f}"


def _tables(row: Mapping[str, Any], seller: str) -> dict[str, dict[str, Any]]:
    """The prices by tier, "" for the normal one."""
    tables: dict[str, dict[str, Any]] = {}
    for key, value in row.items():
        found = _place(key, seller)
        if found is None or isinstance(value, (bool, str)) or value is None:
            continue
        name, tier, above = found
        # Cache writes that a list calls free are billed as input: they have no price of their own.
        if name.startswith("write") and not value:
            continue
        table = tables.setdefault(tier, {})
        if above is not None:
            table = table.setdefault("above", {}).setdefault(above, {})
        table[name] = per_mtok(value)
    return tables


def _place(key: str, seller: str) -> tuple[str, str, str | None] | None:
    """Returns (our key, tier, the number of tokens above which it holds)."""
    tier = ""
    for ending, name in _TIERS.items():
        if key.endswith(ending):
            key, tier = key.removesuffix(ending), name
    above = _ABOVE.search(key)
    ours = _KEYS.get(_ABOVE.sub("", key))
    if ours is None:
        return None
    if above is None:
        return ours, tier, None
    # xAI's step begins at exactly this number.
    tokens = int(above[1]) * 1000 - (1 if seller == "xai" else 0)
    return ours, tier, str(tokens)


def _stepped(row: Mapping[str, Any]) -> dict[str, Any]:
    """Alibaba's list of ranges."""
    steps = row.get("tiered_pricing") or []
    out: dict[str, Any] = {}
    for step in steps:
        prices = {ours: per_mtok(step[key]) for key, ours in _KEYS.items() if key in step}
        start = int(step["range"][0])
        if start == 0:
            out |= prices
        else:
            out.setdefault("above", {})[str(start)] = prices
    return out


def _faster(row: Mapping[str, Any], normal: Mapping[str, Any]) -> dict[str, Any]:
    """Anthropic's fast mode, which multiplies the price."""
    entry = row.get("provider_specific_entry")
    factor = entry.get(_FASTER) if isinstance(entry, Mapping) else None
    return {} if factor is None else {_FASTER: _times(normal, Decimal(str(factor)))}


def _times(table: Mapping[str, Any], factor: Decimal) -> dict[str, Any]:
    return {
        key: {step: _times(one, factor) for step, one in value.items()}
        if isinstance(value, Mapping)
        else plain(Decimal(value) * factor)
        for key, value in table.items()
    }


def _search(costs: Any) -> dict[str, str]:
    if not isinstance(costs, Mapping):
        return {}
    return {size: plain(Decimal(str(costs[key]))) for key, size in _SIZES.items() if key in costs}


def _regions(row: Mapping[str, Any]) -> dict[str, str]:
    entry = row.get("provider_specific_entry")
    factors = {key[len(_UPLIFT) :]: row[key] for key in row if key.startswith(_UPLIFT)}
    if isinstance(entry, Mapping) and "us" in entry:
        factors["us"] = entry["us"]
    return {region: plain(Decimal(str(factor))) for region, factor in factors.items()}


def _hours(cell: Any) -> dict[str, Any]:
    if not isinstance(cell, Mapping):
        return {}
    prices = {ours: per_mtok(cell[key]) for key, ours in _KEYS.items() if key in cell}
    windows = [window for one in cell["windows"] for window in _windows(one)]
    return {"windows": windows, **prices}


def _windows(one: Mapping[str, Any]) -> list[list[Any]]:
    hours = one["hours_utc"]
    spans = [hours] if isinstance(hours, str) else hours
    return [[one["weekdays"], *_minutes(span)] for span in spans]


def _minutes(span: str) -> tuple[int, int]:
    first, last = (int(part[:2]) * 60 + int(part[3:5]) for part in span.split("-"))
    return first, last or 24 * 60
