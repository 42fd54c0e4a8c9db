"""The models of a provider with `models: auto`, which nobody has to configure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from server.catalogue.strongest import Sold, strongest
from server.config.settings import ModelSettings, ProviderSettings, Settings
from server.model_facts import Book, ModelFacts, seller_of
from server.model_facts.names import canonical, undated
from server.model_facts.rules import family_of
from server.upstream.profiles import profile_for

# Servers whose list holds what their operator has installed: all of it is used.
_OWN_SERVERS: Final = frozenset({"ollama", "vllm"})
# Models for a single purpose, and names that always mean the newest model: unsuitable for arbitrary
# prompts.
_SPECIAL: Final = re.compile(
    r"(^|[-_.])(audio|realtime|search|transcribe|tts|image|embed\w*|moderation|guard|ocr|live|"
    r"research|cyber|law|rosalind|robotics|computer|customtools|codex|coder?|codestral|devstral|"
    r"voxtral|pixtral|vibe|leanstral|multi|agent|exp|experimental|beta|latest|vl|learnlm|gemma|"
    r"math|instruct|highspeed|turbo|flashx|airx|[a-z]*v|build|build-\d.*)([-_.]|$)"
)
_NOT_CHAT: Final = re.compile(r"embed|rerank|whisper|bge-|tts|stable-diffusion", re.IGNORECASE)
_CHAT: Final = frozenset({"chat_completions", "responses", "messages", "generate_content"})


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    upstream_model: str
    facts: ModelFacts


def with_auto_models(
    settings: Settings,
    book: Book,
    today: date,
    offered: Mapping[str, Collection[str]] | None = None,
) -> Settings:
    """The settings with the models of every provider that has `models: auto`.

    book: the facts. today: models retired by then are left out. offered: provider -> the names in
    its own list for this key; a provider that is missing there has not been asked yet, and gets the
    models in the facts.
    """
    lists = offered or {}
    models = dict(settings.configured_models)
    for name, provider in settings.providers.items():
        if provider.models != "auto":
            continue
        for model, own in _models_of(name, provider, book, today, lists.get(name)):
            models[model if model not in models else f"{name}/{model}"] = own
    found = settings.model_copy(update={"models": models})
    found.remember_configured(settings.configured_models)
    return found


def _models_of(
    name: str,
    provider: ProviderSettings,
    book: Book,
    today: date,
    offered: Collection[str] | None,
) -> Iterator[tuple[str, ModelSettings]]:
    if takes_all(provider):
        for model in offered or ():
            if can_chat(model):
                yield model, ModelSettings(provider=name)
        return
    seller = seller_of(provider.kind, provider.base_url)
    found = _in_book(book, seller, today) if offered is None else _in_list(book, seller, offered)
    alive = [one for one in found if not one.facts.is_retired(today) and _is_chat(one)]
    for at in strongest([_sold(one, seller) for one in alive], provider.auto_models, today):
        one = alive[at]
        other = None if one.upstream_model == one.name else one.upstream_model
        yield one.name, ModelSettings(provider=name, upstream_model=other)


def can_chat(name: str) -> bool:
    """Whether a model of a server's own list, by its name, is not one for another purpose, such as
    embeddings."""
    return _NOT_CHAT.search(name) is None


def takes_all(provider: ProviderSettings) -> bool:
    """Whether the provider is a server of the operator's own, whose whole list is used."""
    if provider.kind != "openai" or provider.base_url is None:
        return False
    return profile_for(provider.profile, provider.base_url).name in _OWN_SERVERS


def _in_book(book: Book, seller: str | None, today: date) -> list[_Candidate]:
    rows = [name for of, name in book.models() if of == seller]
    found = [_Candidate(name, name, book.facts_of(name, seller)) for name in rows]
    known = [one for one in found if one.facts.released is None or one.facts.released <= today]
    return _once(known)


def _in_list(book: Book, seller: str | None, offered: Collection[str]) -> list[_Candidate]:
    found = []
    for name in offered:
        facts = book.facts_of(name, seller)
        if facts.known == "model":
            found.append(_Candidate(canonical(name), name, facts))
    return _once(found)


def _once(found: list[_Candidate]) -> list[_Candidate]:
    """Keeps one candidate for each model: the name without a date, where there is one."""
    by_model: dict[str, _Candidate] = {}
    for one in sorted(found, key=lambda one: (len(one.name), one.name)):
        by_model.setdefault(undated(one.name), one)
    return list(by_model.values())


def _is_chat(one: _Candidate) -> bool:
    facts = one.facts
    if _SPECIAL.search(canonical(one.name)) or "tools" in facts.lacks or facts.prices is None:
        return False
    return not facts.endpoints or not _CHAT.isdisjoint(facts.endpoints)


def _is_anothers(one: _Candidate, seller: str | None) -> bool:
    """Whether a vendor sells another vendor's model."""
    family = family_of(canonical(one.name))
    return family is not None and family.vendor != seller


def _sold(one: _Candidate, seller: str | None) -> Sold:
    prices = one.facts.prices
    base = None if prices is None else prices.normal.base
    usd = None if base is None else (base.input_usd_per_mtok, base.output_usd_per_mtok)
    return Sold(one.name, usd, one.facts.released, _is_anothers(one, seller))
