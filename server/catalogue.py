"""From settings to the router's catalogue, and what is missing on either side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from router.catalog import ModelCard, Prices
from server.prices import ListedModel, look_up
from server.settings import ModelSettings, ProviderSettings, Settings


@dataclass(frozen=True, slots=True)
class Coverage:
    """Names that exist on one side only."""

    without_coefficient: tuple[str, ...]
    without_model: tuple[str, ...]
    without_price: tuple[str, ...]


def build_catalogue(settings: Settings, now: datetime | None = None) -> tuple[ModelCard, ...]:
    """The cards of all configured models, in the order of the file.

    now: decides which list price is in force (default: the current time).
    """
    moment = datetime.now(UTC) if now is None else now
    return tuple(
        _card(name, model, settings.providers[model.provider], moment)
        for name, model in settings.models.items()
    )


def coverage(catalogue: Sequence[ModelCard], leaderboard: Sequence[str]) -> Coverage:
    """What the operator should know: models that cannot be routed and columns nobody serves."""
    known = set(leaderboard)
    served = {card.leaderboard_name for card in catalogue}
    return Coverage(
        without_coefficient=tuple(c.name for c in catalogue if c.leaderboard_name not in known),
        without_model=tuple(name for name in leaderboard if name not in served),
        without_price=tuple(card.name for card in catalogue if card.prices is None),
    )


def _card(name: str, model: ModelSettings, provider: ProviderSettings, now: datetime) -> ModelCard:
    listed = _listed(name, model, provider, now)
    prices = _prices(model, listed)
    return ModelCard(
        name=name,
        provider=model.provider,
        upstream_model=model.upstream_model or name,
        leaderboard_name=model.leaderboard_name or name,
        prices=prices,
        context_window=_context_window(model, listed),
        max_output_tokens=model.max_output_tokens,
        capabilities=model.capabilities,
        expected_output_tokens=model.expected_output_tokens,
        tier_prices={}
        if prices is None
        else {tier: prices.times(factor) for tier, factor in model.tier_prices.items()},
    )


def _listed(
    name: str, model: ModelSettings, provider: ProviderSettings, now: datetime
) -> ListedModel | None:
    if model.input_usd_per_mtok is not None and model.context_window is not None:
        return None
    url = provider.base_url
    # a private host is on no price list; a look-up by its URL would only warn
    public = url if url is not None and "." in (urlsplit(url).hostname or "") else None
    for candidate in dict.fromkeys((model.upstream_model or name, name)):
        found = look_up(candidate, public, now)
        if found is not None:
            return found
    return None


def _prices(model: ModelSettings, listed: ListedModel | None) -> Prices | None:
    if model.input_usd_per_mtok is None or model.output_usd_per_mtok is None:
        return None if listed is None else listed.prices
    return Prices(
        input_usd_per_mtok=model.input_usd_per_mtok,
        output_usd_per_mtok=model.output_usd_per_mtok,
        cached_input_usd_per_mtok=model.cached_input_usd_per_mtok,
        cache_write_usd_per_mtok=model.cache_write_usd_per_mtok,
        cache_write_1h_usd_per_mtok=model.cache_write_1h_usd_per_mtok,
        reasoning_usd_per_mtok=model.reasoning_usd_per_mtok,
        audio_input_usd_per_mtok=model.audio_input_usd_per_mtok,
        audio_output_usd_per_mtok=model.audio_output_usd_per_mtok,
        request_usd=model.request_usd,
    )


def _context_window(model: ModelSettings, listed: ListedModel | None) -> int | None:
    if model.context_window is not None:
        return model.context_window
    return None if listed is None else listed.context_window
