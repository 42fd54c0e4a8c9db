"""What the router knows of a model: prices, limits, abilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Final

# Service tiers that cost no more than the normal price, where nobody says how much less.
_CHEAPER: Final = frozenset({"flex", "batch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """USD per million tokens. None falls back: cached input and cache writes and audio input to
    the input price, cache writes for an hour to cache writes, reasoning and audio output to the
    output price. request_usd: per request."""

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cached_input_usd_per_mtok: Decimal | None = None
    cache_write_usd_per_mtok: Decimal | None = None
    cache_write_1h_usd_per_mtok: Decimal | None = None
    reasoning_usd_per_mtok: Decimal | None = None
    audio_input_usd_per_mtok: Decimal | None = None
    audio_output_usd_per_mtok: Decimal | None = None
    request_usd: Decimal = Decimal(0)

    def times(self, factor: Decimal) -> Prices:
        """Every token at so many times its price."""
        names = (f.name for f in fields(self) if f.name != "request_usd")
        known = ((name, getattr(self, name)) for name in names)
        return replace(self, **{n: price * factor for n, price in known if price is not None})

    def filled_from(self, other: Prices) -> Prices:
        """With the other's prices where these have none of their own, if both say the same of plain
        input and output; else these."""
        mine = (self.input_usd_per_mtok, self.output_usd_per_mtok)
        if mine != (other.input_usd_per_mtok, other.output_usd_per_mtok):
            return self
        gaps = [f.name for f in fields(self) if getattr(self, f.name) is None]
        return replace(self, **{name: getattr(other, name) for name in gaps})

    @property
    def dearest_input_usd_per_mtok(self) -> Decimal:
        """The most that an input token of any kind can cost."""
        return _dearest(
            self.input_usd_per_mtok,
            self.cached_input_usd_per_mtok,
            self.cache_write_usd_per_mtok,
            self.cache_write_1h_usd_per_mtok,
            self.audio_input_usd_per_mtok,
        )

    @property
    def dearest_output_usd_per_mtok(self) -> Decimal:
        """The most that an output token of any kind can cost."""
        return _dearest(
            self.output_usd_per_mtok,
            self.reasoning_usd_per_mtok,
            self.audio_output_usd_per_mtok,
        )


def _dearest(price: Decimal, *others: Decimal | None) -> Decimal:
    for other in others:
        if other is not None and other > price:
            price = other
    return price


@dataclass(frozen=True, slots=True)
class LongPrompt:
    """The prices of every token of a request whose prompt has more than so many tokens."""

    above_tokens: int
    prices: Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One model of the catalogue.

    prices: None where nobody knows them; such a model is never routed under a budget.
    capabilities: of tools, vision, json_schema, audio; None: not declared, nothing is ruled out.
    context_window, max_output_tokens, expected_output_tokens: tokens, None where not known.
    tier_prices: those of service tiers that are not served at `prices`. long_prompts: service tier
    (None: the normal one) -> its prices for longer prompts, the longest last. search_usd: of one
    web search that the provider runs, None where not known. retired: why it may no longer be
    asked, None where it may.
    """

    name: str
    provider: str
    upstream_model: str
    leaderboard_name: str
    prices: Prices | None
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] | None = None
    expected_output_tokens: int | None = None
    tier_prices: Mapping[str, Prices] = field(default_factory=dict, hash=False)
    long_prompts: Mapping[str | None, tuple[LongPrompt, ...]] = field(
        default_factory=dict, hash=False
    )
    search_usd: Decimal | None = None
    retired: str | None = None

    def prices_at(self, tier: str | None, prompt_tokens: int = 0) -> Prices | None:
        """The prices of a service tier, the normal one for None, for a prompt of so many tokens. A
        tier of unknown price is one of unknown price, never of the normal one, unless it is known
        to be no dearer."""
        served = tier
        if tier is None:
            prices = self.prices
        else:
            prices = self.tier_prices.get(tier)
            if prices is None and tier in _CHEAPER:
                prices, served = self.prices, None
        if prices is None or not self.long_prompts:
            return prices
        for step in self.long_prompts.get(served, ()):
            if prompt_tokens > step.above_tokens:
                prices = step.prices
        return prices

    def worst_prices_at(self, tier: str | None, prompt_tokens: int = 0) -> Prices | None:
        """The same, but never below the normal ones: a provider may serve in the normal tier.
        prompt_tokens: at most, as a longer prompt is never cheaper."""
        prices = self.prices_at(tier, prompt_tokens)
        if prices is None or tier is None or self.prices is None:
            return prices
        normal = self.prices_at(None, prompt_tokens) or prices
        if normal is prices:
            return prices
        # a tier has all its prices from one factor
        return max(prices, normal, key=lambda p: p.input_usd_per_mtok + p.output_usd_per_mtok)
