"""The facts of the models that a configuration names."""

from __future__ import annotations

from server.model_facts.book import Book, bundled_book
from server.model_facts.overrides import Overrides
from server.model_facts.sellers import seller_of
from server.model_facts.types import ModelFacts
from server.settings import ModelSettings, ProviderSettings, Settings


def facts_of_models(settings: Settings, book: Book | None = None) -> dict[str, ModelFacts]:
    """Catalogue name -> what is known of the model at its provider, with what the configuration
    says otherwise. book: the table (default: the bundled one)."""
    table = bundled_book() if book is None else book
    return {
        name: facts_of_model(name, model, settings.providers[model.provider], table)
        for name, model in settings.models.items()
    }


def facts_of_model(
    name: str, model: ModelSettings, provider: ProviderSettings, book: Book
) -> ModelFacts:
    """The same of one model: by the provider's own name for it, else by the catalogue's."""
    seller = seller_of(provider.kind, provider.base_url)
    overrides = _overrides(model)
    facts = book.facts_of(model.upstream_model or name, seller, overrides)
    if facts.known == "nothing" and model.upstream_model is not None:
        return book.facts_of(name, seller, overrides)
    return facts


def _overrides(model: ModelSettings) -> Overrides:
    """What the older keys say of a cell."""
    limits = {
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
    }
    return {"limits": {cell: tokens for cell, tokens in limits.items() if tokens is not None}}
