"""Builds the router's catalogue from settings, and finds what is missing in it or on the
leaderboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from router.catalog import LongPrompt, ModelCard, Prices
from server.catalogue.price_list import ListedModel, look_up
from server.config.columns import columns_of
from server.config.configured_facts import book_of, facts_of_model
from server.config.efforts import check_efforts
from server.config.settings import ModelSettings, ProviderSettings, Settings
from server.model_facts.book import BUNDLED, Book
from server.model_facts.types import ModelFacts

# The vendors' price for each web search, where the table has no fee for the model: from their price
# pages, read on 2026-11-29.
_SEARCH_USD: Final = {
    "anthropic": Decimal("0.01"),
    "openai": Decimal("0.01"),
    "google": Decimal("0.014"),
    "xai": Decimal("0.005"),
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Names that exist only in the catalogue or only on the leaderboard."""

    without_coefficient: tuple[str, ...]
    without_model: tuple[str, ...]
    without_price: tuple[str, ...]


def build_catalogue(
    settings: Settings, now: datetime | None = None, book: Book | None = None
) -> tuple[ModelCard, ...]:
    """The cards of all configured models, in the order of the file: one for each model, or one for
    each of its columns.

    now: decides which list price is in force (default: the current time). book: the table of facts
    (default: the one that the configuration uses). Raises ConfigError where the file of facts that
    the configuration names cannot be read, or where a model does not take an effort of a column.
    """
    moment = datetime.now(UTC) if now is None else now
    table = book_of(settings) if book is None else book
    cards: list[ModelCard] = []
    for name, model in settings.models.items():
        card = _card(name, model, settings.providers[model.provider], moment, table)
        columns = columns_of(name, model, settings.models)
        cards += [replace(card, name=column, effort=effort) for column, effort in columns] or [card]
    return tuple(cards)


def coverage(catalogue: Sequence[ModelCard], leaderboard: Sequence[str]) -> Coverage:
    """What the operator should know: models that cannot be routed, and columns without a model. The
    columns of a model, each at one effort, count as that model."""
    known = set(leaderboard)
    served = {card.leaderboard_name for card in catalogue}
    return Coverage(
        without_coefficient=_models(c for c in catalogue if c.leaderboard_name not in known),
        without_model=tuple(name for name in leaderboard if name not in served),
        without_price=_models(card for card in catalogue if card.prices is None),
    )


def _models(cards: Iterable[ModelCard]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(card.base for card in cards))


def _card(
    name: str, model: ModelSettings, provider: ProviderSettings, now: datetime, book: Book
) -> ModelCard:
    facts = facts_of_model(name, model, provider, book)
    check_efforts(name, model, facts)
    listed = _known(name, model, provider, now, facts=facts, renewed=book.where != BUNDLED)
    prices = _prices(model, listed)
    return ModelCard(
        name=name,
        provider=model.provider,
        upstream_model=model.upstream_model or name,
        leaderboard_name=model.leaderboard_name or name,
        prices=prices,
        context_window=_context_window(model, listed, facts),
        max_output_tokens=facts.limits.max_output_tokens,
        capabilities=_capabilities(model, facts),
        expected_output_tokens=model.expected_output_tokens,
        tier_prices=_tier_prices(model, prices, facts, now),
        long_prompts=_long_prompts(model, listed, prices, facts, now),
        search_usd=_search_usd(facts),
        retired=retired(model, facts, now.date()),
    )


def _known(
    name: str,
    model: ModelSettings,
    provider: ProviderSettings,
    now: datetime,
    *,
    facts: ModelFacts,
    renewed: bool,
) -> ListedModel | None:
    """The price and limits from the lists: a table that the user has renewed, else genai-prices,
    which has start dates and is kept current, else the bundled table. Each fills the gaps of the
    others where they agree."""
    tabled = None if facts.prices is None else _tabled(facts, now)
    if renewed and tabled is not None:
        return tabled
    listed = _listed(name, model, provider, now)
    if listed is None or tabled is None:
        return listed or tabled
    return ListedModel(
        listed.prices.filled_from(tabled.prices),
        listed.context_window or tabled.context_window,
        listed.long_prompts or tabled.long_prompts,
    )


def _tabled(facts: ModelFacts, now: datetime) -> ListedModel | None:
    rates = None if facts.prices is None else facts.prices.rates(now)
    if rates is None:
        return None
    return ListedModel(rates.base, facts.limits.context_window, rates.long_prompts)


def _listed(
    name: str, model: ModelSettings, provider: ProviderSettings, now: datetime
) -> ListedModel | None:
    if model.input_usd_per_mtok is not None and model.context_window is not None:
        return None
    url = provider.base_url
    # A private host is on no price list; a look-up by its URL would only cause a warning.
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


def _context_window(
    model: ModelSettings, listed: ListedModel | None, facts: ModelFacts
) -> int | None:
    if model.context_window is not None:
        return model.context_window
    known = None if listed is None else listed.context_window
    return facts.limits.context_window if known is None else known


def _capabilities(model: ModelSettings, facts: ModelFacts) -> frozenset[str] | None:
    """The abilities; the facts rule out only what a model surely lacks. Reasoning is a preference
    and rules out nothing."""
    if model.capabilities is not None:
        return model.capabilities
    known = facts.capabilities
    return None if known is None else known | {"reasoning"}


def _tier_prices(
    model: ModelSettings, prices: Prices | None, facts: ModelFacts, now: datetime
) -> dict[str, Prices]:
    """The prices by service tier: the configuration's factors, and the table's prices where list
    prices are used."""
    if prices is None:
        return {}
    tiers = {} if model.input_usd_per_mtok is not None else _listed_tiers(facts, prices, now)
    return tiers | {tier: prices.times(factor) for tier, factor in model.tier_prices.items()}


def _long_prompts(
    model: ModelSettings,
    listed: ListedModel | None,
    prices: Prices | None,
    facts: ModelFacts,
    now: datetime,
) -> dict[str | None, tuple[LongPrompt, ...]]:
    """The price steps of the lists; a price in the configuration holds for every prompt."""
    if prices is None or listed is None or model.input_usd_per_mtok is not None:
        return {}
    steps: dict[str | None, tuple[LongPrompt, ...]] = {None: listed.long_prompts}
    table = facts.prices
    normal = None if table is None else table.prices(now)
    if table is not None and normal is not None and _agree(normal, prices):
        steps |= {tier: rates.long_prompts for tier, rates in table.tiers.items()}
    return {tier: own for tier, own in steps.items() if own}


def retired(model: ModelSettings, facts: ModelFacts, today: date) -> str | None:
    """Why the model may no longer be used where it is sold; None where it may."""
    ended = facts.retirement
    if ended is None or model.retired == "allow" or not facts.is_retired(today):
        return None
    successor = "" if ended.successor is None else f"; its successor is {ended.successor}"
    if ended.redirected:
        return f"another model has answered in its place since {ended.on}{successor}"
    return f"retired on {ended.on}{successor}"


def _search_usd(facts: ModelFacts) -> Decimal | None:
    """The fee for a web search with the usual amount of context."""
    known = {} if facts.prices is None else facts.prices.search_usd
    fee = known.get("medium")
    return _SEARCH_USD.get(facts.vendor or "") if fee is None else fee


def _listed_tiers(facts: ModelFacts, prices: Prices, now: datetime) -> dict[str, Prices]:
    table = facts.prices
    normal = None if table is None else table.prices(now)
    if table is None or normal is None or not _agree(normal, prices):
        return {}
    tiers = {tier: rates.base for tier, rates in table.tiers.items()}
    factor = table.region_factors.get("us")
    if factor is not None:
        tiers |= {f"{tier}+us": one.times(factor) for tier, one in tiers.items() if tier == "fast"}
        tiers["us"] = prices.times(factor)
    return tiers


def _agree(first: Prices, second: Prices) -> bool:
    """Whether two lists agree; otherwise one list's tiers belong to other prices."""
    return (first.input_usd_per_mtok, first.output_usd_per_mtok) == (
        second.input_usd_per_mtok,
        second.output_usd_per_mtok,
    )
