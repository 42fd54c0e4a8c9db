"""List prices of well-known models, from the price list that genai-prices ships with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from router.catalog import Prices

_EMBEDDING = re.compile(r"embed", re.IGNORECASE)
# The field names of genai-prices' ModelPrice and ours.
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
    """What the price list knows of a model. context_window: tokens, None where not known."""

    prices: Prices
    context_window: int | None


def look_up(model: str, provider_url: str | None, now: datetime) -> ListedModel | None:
    """The list price of a model, or None where the list does not know it.

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
    values: dict[str, Decimal] = {}
    window: int | None = info.context_window
    for theirs, ours in _FIELDS.items():
        price = getattr(listed, theirs, None)
        if price is None:
            continue
        values[ours], limit = _base_price(price)
        # Above its first tier a model is dearer: longer prompts are not routed at the low price.
        window = limit if window is None else min(window, limit or window)
    if _EMBEDDING.search(info.id):
        # it gives no text: the list has no output price, and no other model may go without
        values.setdefault("output_usd_per_mtok", Decimal(0))
    if "input_usd_per_mtok" not in values or "output_usd_per_mtok" not in values:
        return None
    request_usd = Decimal(getattr(listed, "requests_kcount", None) or 0) / 1000
    return ListedModel(Prices(**values, request_usd=request_usd), window)


def _base_price(price: Any) -> tuple[Decimal, int | None]:
    """A flat price, or the base of a tiered one with the prompt length at which it ends."""
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return Decimal(price), None
    return Decimal(price.base), min(tier.start for tier in tiers)
