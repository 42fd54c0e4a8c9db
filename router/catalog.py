"""Model cards: the prices, limits and abilities of each model that the router may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Final

# Service tiers that never cost more than the normal price, even where their discount is unknown.
_CHEAPER: Final = frozenset({"flex", "batch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices in USD per million tokens; `request_usd` is a fee per request.

    None falls back to a more general price: cached input, cache writes and audio input to the input
    price, one-hour cache writes to cache writes, reasoning and audio output to the output price.
    """

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
        """Returns the prices with each token price multiplied by the factor."""
        names = (f.name for f in fields(self) if f.name != "request_usd")
        known = ((name, getattr(self, name)) for name in names)
        return replace(self, **{n: price * factor for n, price in known if price is not None})

    def filled_from(self, other: Prices) -> Prices:
        """Returns these prices with their gaps filled from the other's, if both have the same
        prices for plain input and output; otherwise returns these prices unchanged."""
        mine = (self.input_usd_per_mtok, self.output_usd_per_mtok)
        if mine != (other.input_usd_per_mtok, other.output_usd_per_mtok):
            return self
        gaps = [f.name for f in fields(self) if getattr(self, f.name) is None]
        return replace(self, **{name: getattr(other, name) for name in gaps})

    @property
    def dearest_input_usd_per_mtok(self) -> Decimal:
        """The highest price of an input token of any kind."""
        return _dearest(
            self.input_usd_per_mtok,
            self.cached_input_usd_per_mtok,
            self.cache_write_usd_per_mtok,
            self.cache_write_1h_usd_per_mtok,
            self.audio_input_usd_per_mtok,
        )

    @property
    def dearest_output_usd_per_mtok(self) -> Decimal:
        """The highest price of an output token of any kind."""
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
    """The prices of all tokens of a request whose prompt is longer than `above_tokens`."""

    above_tokens: int
    prices: Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One model of the catalogue.

    prices: None where unknown; such a model is never chosen under a budget. capabilities: a subset
    of tools, vision, json_schema and audio; None means not declared, and then nothing is ruled out.
    context_window, max_output_tokens, expected_output_tokens: in tokens, None where unknown.
    tier_prices: the prices of the service tiers that are not served at `prices`. long_prompts:
    service tier (None: the normal one) -> its prices for long prompts, by rising length.
    search_usd: the fee in USD of one web search that the provider runs, None where unknown.
    retired: the reason why the model may no longer be asked, None where it may. effort: the effort
    that the model is asked for, where the card is a column, whose name is then `MODEL:EFFORT`; None
    for a model without columns. coefficient_shift: added to the coefficient of `leaderboard_name`,
    in natural log-odds; coefficient_sd: the standard deviation of the sum, 0 where the column is
    the model's own. rests_on: what that place rests on, for people.
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
    effort: str | None = None
    coefficient_shift: float = 0.0
    coefficient_sd: float = 0.0
    rests_on: str = ""

    @property
    def base(self) -> str:
        """The catalogue name of the model: that of a column without its effort."""
        return self.name if self.effort is None else self.name.removesuffix(f":{self.effort}")

    def prices_at(self, tier: str | None, prompt_tokens: int = 0) -> Prices | None:
        """Returns the prices of a service tier (None: the normal one) for a prompt of that length.

        Returns None where they are unknown. A tier without prices of its own never gets the normal
        ones, unless the tier is known not to cost more.
        """
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
        """Like `prices_at`, but never below the normal prices, since a provider may serve a request
        in the normal tier instead. prompt_tokens: an upper bound; a longer prompt is never
        cheaper."""
        prices = self.prices_at(tier, prompt_tokens)
        if prices is None or tier is None or self.prices is None:
            return prices
        normal = self.prices_at(None, prompt_tokens) or prices
        if normal is prices:
            return prices
        # All prices of a tier come from one factor, so that comparing two of them is enough.
        return max(prices, normal, key=lambda p: p.input_usd_per_mtok + p.output_usd_per_mtok)
