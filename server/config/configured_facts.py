"""The facts about the models that a configuration names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from server.config.facts_file import book_in_force
from server.config.settings import ModelSettings, ProviderSettings, Settings
from server.config.settings.facts import FactOverrides
from server.model_facts.book import Book, bundled_book
from server.model_facts.overrides import CONFIGURED, Overrides
from server.model_facts.sellers import seller_of
from server.model_facts.types import CAPABILITIES, EFFORTS, ModelFacts, Retirement, Source

_PARTS: Final = ("limits", "sampling", "thinking", "tools", "schemas", "messages", "caching")
# The facts that the older key models.NAME.thinking stands for.
_STYLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "none": {"use": "never", "kinds": frozenset(), "efforts": (), "off": "omitted"},
    "budget": {"kinds": frozenset({"budget"})},
    "adaptive": {"kinds": frozenset({"adaptive", "effort"})},
}


def book_of(settings: Settings, environ: Mapping[str, str] = os.environ) -> Book:
    """The table that a configuration uses: the user's file where it is newer than the bundled one.
    Raises ConfigError where facts.path cannot be read."""
    return book_in_force(settings.facts.path, environ)


def facts_of_models(settings: Settings, book: Book | None = None) -> dict[str, ModelFacts]:
    """The facts about each model at its provider, by catalogue name, with the configuration's
    overrides. book: the table (default: book_of the settings)."""
    table = book_of(settings) if book is None else book
    return {
        name: facts_of_model(name, model, settings.providers[model.provider], table)
        for name, model in settings.models.items()
    }


def facts_of_model(
    name: str, model: ModelSettings, provider: ProviderSettings, book: Book | None = None
) -> ModelFacts:
    """The facts about one model: by the provider's own name for it, else by its catalogue name.
    book: the table (default: the bundled one)."""
    table = bundled_book() if book is None else book
    seller = seller_of(provider.kind, provider.base_url)
    overrides = _overrides(model)
    facts = table.facts_of(model.upstream_model or name, seller, overrides)
    if facts.known == "nothing" and model.upstream_model is not None:
        facts = table.facts_of(name, seller, overrides)
    return _with_abilities(_with_retirement(_thinking_as_said(facts, model), model.facts), model)


def _thinking_as_said(facts: ModelFacts, model: ModelSettings) -> ModelFacts:
    """A model that is configured to think does think, whatever its name suggests."""
    if model.thinking in (None, "none") or facts.thinking.use != "never":
        return facts
    return replace(facts, thinking=replace(facts.thinking, use="optional", efforts=None))


def _overrides(model: ModelSettings) -> Overrides:
    """The overrides in the section `facts` and in the older keys."""
    given = {part: dict(_given(getattr(model.facts, part))) for part in _PARTS}
    if model.context_window is not None:
        given["limits"]["context_window"] = model.context_window
    if model.max_output_tokens is not None:
        given["limits"]["max_output_tokens"] = model.max_output_tokens
    if model.thinking is not None:
        given["thinking"] = {**_STYLES[model.thinking], **given["thinking"]}
    efforts = given["thinking"].get("efforts")
    if efforts is not None:
        given["thinking"]["efforts"] = tuple(sorted(efforts, key=EFFORTS.index))
    return given


def _given(section: Any) -> Mapping[str, Any]:
    """The keys that are in the file, including null values: null means that nothing is known."""
    return {key: getattr(section, key) for key in section.model_fields_set}


def _with_retirement(facts: ModelFacts, given: FactOverrides) -> ModelFacts:
    if given.retirement is None:
        return facts
    source = Source(CONFIGURED, datetime.now(UTC).date())
    ends = Retirement(given.retirement.day, given.retirement.successor, source)
    return replace(facts, retirement=ends)


def _with_lengths(facts: ModelFacts, given: FactOverrides) -> ModelFacts:
    if not given.expected_output_tokens:
        return facts
    lengths = {**facts.expected_output_tokens, **given.expected_output_tokens}
    return replace(facts, expected_output_tokens=lengths)


def _with_abilities(facts: ModelFacts, model: ModelSettings) -> ModelFacts:
    facts = _with_lengths(facts, model.facts)
    if model.capabilities is None:
        return facts
    can = frozenset(model.capabilities)
    source = Source(CONFIGURED, datetime.now(UTC).date())
    sources = dict(facts.sources) | {"capabilities": source}
    return replace(facts, can=can, lacks=CAPABILITIES - can, sources=sources)
