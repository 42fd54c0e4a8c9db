"""A model's prices: by service tier, length of the prompt, lifetime of the cache and hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from router.catalog import LongPrompt, Prices

__all__ = ["LongPrompt", "OffPeak", "PriceTable", "Rates", "Window"]

_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the week, UTC. weekdays: 1 is Monday. from_minute and to_minute of a day: half-open,
    never past midnight."""

    weekdays: frozenset[int]
    from_minute: int
    to_minute: int

    def holds(self, moment: datetime) -> bool:
        """Whether a moment, given with a time zone, lies in it."""
        utc = moment.astimezone(UTC)
        minute = utc.hour * 60 + utc.minute
        return utc.isoweekday() in self.weekdays and self.from_minute <= minute < self.to_minute


@dataclass(frozen=True, slots=True)
class OffPeak:
    """Different prices in some hours of the week."""

    windows: tuple[Window, ...]
    prices: Prices


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of tokens, with steps by length of the prompt, the highest last."""

    base: Prices
    long_prompts: tuple[LongPrompt, ...] = ()

    def at(self, prompt_tokens: int) -> Prices:
        """The prices for a request with this many input tokens of any kind, including cached
        ones."""
        prices = self.base
        for step in self.long_prompts:
            if prompt_tokens > step.above_tokens:
                prices = step.prices
        return prices


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """All prices of a model at one seller.

    normal: without a service tier. tiers: flex, priority, fast, ultrafast, batch, where known.
    off_peak: cheaper hours of the normal tier. from_day: later prices of the normal tier, by the
    day on which they begin, in order. search_usd: for one web search, by size of its context: low,
    medium, high. search_per: whether each query is billed, or each prompt that searches.
    cache_write_12h_usd_per_mtok: for a cache lifetime of twelve hours. region_factors: the factor
    for a request that is kept in a region: region -> factor.
    """

    normal: Rates
    tiers: Mapping[str, Rates] = field(default_factory=dict, hash=False)
    off_peak: OffPeak | None = None
    from_day: tuple[tuple[date, Rates], ...] = ()
    search_usd: Mapping[str, Decimal] = field(default_factory=dict, hash=False)
    search_per: str = "query"
    cache_write_12h_usd_per_mtok: Decimal | None = None
    region_factors: Mapping[str, Decimal] = field(default_factory=dict, hash=False)

    def rates(self, moment: datetime, tier: str | None = None) -> Rates | None:
        """The rates in force at a moment, given with a time zone. tier: None for the normal one.
        Returns None for a tier of unknown price."""
        if tier not in (None, "default", "auto", "standard"):
            return self.tiers.get(tier or "")
        rates = self.normal
        for day, later in self.from_day:
            if day <= moment.astimezone(UTC).date():
                rates = later
        if self.off_peak is not None and any(w.holds(moment) for w in self.off_peak.windows):
            return Rates(self.off_peak.prices)
        return rates

    def prices(
        self, moment: datetime, *, tier: str | None = None, prompt_tokens: int = 0
    ) -> Prices | None:
        """The prices of one request in USD per million tokens; None for a tier of unknown price."""
        rates = self.rates(moment, tier)
        return None if rates is None else rates.at(prompt_tokens)
