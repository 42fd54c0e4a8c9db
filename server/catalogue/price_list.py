"""List prices of well-known models, from the list that genai-prices ships with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from router.catalog import LongPrompt, Prices

_OPENROUTER = "https://openrouter.ai/api/v1"
_EMBEDDING = re.compile(r"embed", re.IGNORECASE)
# The field names of genai-prices' ModelPrice, and ours.
_FIELDS = {
    "input_mtok": "input_usd_per_mtok",
    "output_mtok": "output_usd_per_mtok",
    "cache_read_mtok": "cached_input_usd_per_mtok",
    "cache_write_mtok": "cache_write_usd_per_mtok",
    "cache_write_1h_mtok": "cache_write_1h_usd_per_mtok",
    "input_audio_mtok": "audio_input_usd_per_mtok",
    "output_audio_mtok": "audio_output_usd_per_mtok",
}


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model on the price list. context_window: tokens, None where unknown. long_prompts: prices
    of longer prompts, the longest last."""

    prices: Prices
    context_window: int | None
    long_prompts: tuple[LongPrompt, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """A model by the list's own name. prices: None where the list has no complete ones."""

    name: str
    prices: Prices | None


def look_up_named(bare: str, full: str, now: datetime) -> Named | None:
    """Looks up a well-known model at its vendor's, or else at OpenRouter; None where the list does
    not have it. bare: its name without the path; full: as it came."""
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    for name, url in ((full, None), (bare, None), (full, _OPENROUTER)):
        try:
            _, info = snapshot.find_provider_model(name, None, None, url)
        except LookupError:
            continue
        listed = _listed(info, now)
        return Named(info.id, None if listed is None else listed.prices)
    return None


def look_up(model: str, provider_url: str | None, now: datetime) -> ListedModel | None:
    """The list price of a model; None where the list does not have it.

    provider_url: the provider's base URL; a model has different prices at different hosts.
    """
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    for url in (provider_url, None):
        try:
            _, info = snapshot.find_provider_model(model, None, None, url)
        except LookupError:
            continue
        return _listed(info, now)
    return None


def _listed(info: Any, now: datetime) -> ListedModel | None:
    listed = info.get_prices(now)
    prices = _prices(info, listed, 0)
    if prices is None:
        return None
    steps = (LongPrompt(start, _prices(info, listed, start) or prices) for start in _starts(listed))
    return ListedModel(prices, info.context_window, tuple(steps))


def _prices(info: Any, listed: Any, above_tokens: int) -> Prices | None:
    """The prices of a prompt with just over above_tokens tokens."""
    values: dict[str, Decimal] = {}
    for theirs, ours in _FIELDS.items():
        price = getattr(listed, theirs, None)
        if price is not None:
            values[ours] = _price_above(price, above_tokens)
    if _EMBEDDING.search(info.id):
        # The model writes no text: the list has no output price, and every other model must have
        # one.
        values.setdefault("output_usd_per_mtok", Decimal(0))
    if "input_usd_per_mtok" not in values or "output_usd_per_mtok" not in values:
        return None
    request_usd = Decimal(getattr(listed, "requests_kcount", None) or 0) / 1000
    return Prices(**values, request_usd=request_usd)


def _starts(listed: Any) -> list[int]:
    """The lengths of prompts, in tokens, above which a price changes."""
    prices = (getattr(listed, theirs, None) for theirs in _FIELDS)
    return sorted({tier.start for price in prices for tier in getattr(price, "tiers", None) or ()})


def _price_above(price: Any, above_tokens: int) -> Decimal:
    found = Decimal(getattr(price, "base", price))
    for tier in sorted(getattr(price, "tiers", None) or (), key=lambda tier: int(tier.start)):
        if 0 < tier.start <= above_tokens:
            found = Decimal(tier.price)
    return found
