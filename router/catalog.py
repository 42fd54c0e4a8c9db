"""What the router knows of a model: prices, limits, abilities."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


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

    @property
    def dearest_input_usd_per_mtok(self) -> Decimal:
        """The most that an input token of any kind can cost."""
        return max(
            price
            for price in (
                self.input_usd_per_mtok,
                self.cached_input_usd_per_mtok,
                self.cache_write_usd_per_mtok,
                self.cache_write_1h_usd_per_mtok,
                self.audio_input_usd_per_mtok,
            )
            if price is not None
        )

    @property
    def dearest_output_usd_per_mtok(self) -> Decimal:
        """The most that an output token of any kind can cost."""
        return max(
            price
            for price in (
                self.output_usd_per_mtok,
                self.reasoning_usd_per_mtok,
                self.audio_output_usd_per_mtok,
            )
            if price is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One model of the catalogue.

    prices: None where nobody knows them; such a model is never routed under a budget.
    capabilities: of tools, vision, json_schema, audio; None: not declared, nothing is ruled out.
    context_window, max_output_tokens, expected_output_tokens: tokens, None where not known.
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
