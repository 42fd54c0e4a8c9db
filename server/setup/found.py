"""The models that a first configuration would have, each with its price, its place and what it
costs on a usual request."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from p2l_model.types import PromptLeaderboard
from router.catalog import ModelCard
from router.choice import RoutingRequest, decide
from router.cost import RequestShape
from router.errors import NoEligibleModelError
from server.build import surely_known_to
from server.catalogue.auto_models import can_chat, with_auto_models
from server.catalogue.cards import build_catalogue
from server.config.configured_facts import facts_of_models
from server.config.settings import ModelSettings, Settings
from server.gateway.column_places import place_of, placed_card
from server.gateway.places import Place, Places
from server.model_facts import seller_of
from server.model_facts.book import Book
from server.setup.trying import Tried

# A usual request: this many tokens of input, and an answer of each model's usual length.
USUAL_INPUT_TOKENS: Final = 1_000
# Of a server that is asked for its list, at most this many models.
_MOST: Final = 12


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that can be chosen. coefficient: its place, in natural log-odds, give or take the
    place's sd. win_rate: on a usual prompt, against a random model of the leaderboard. usual_usd:
    the cost of a usual request. Both are None where they are unknown."""

    card: ModelCard
    place: Place | None
    coefficient: float | None
    win_rate: float | None
    usual_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Found:
    """settings: the providers and their models, without rules. models: best first. explicit: the
    models of servers whose list is not followed, which the configuration has to name. left_out:
    provider -> the models in its list whose price is unknown."""

    settings: Settings
    models: tuple[FoundModel, ...]
    explicit: dict[str, ModelSettings] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)


def find(tried: Sequence[Tried], book: Book, today: date) -> Found:
    """The models of all providers that can be used. Raises CheckpointError."""
    usable = [one for one in tried if one.problem is None]
    explicit, left_out = _explicit(usable, book)
    followed = {one.candidate.name for one in usable if _is_followed(one)}
    providers = {
        one.candidate.name: one.candidate.settings.model_copy(
            update={"models": "auto" if one.candidate.name in followed else None}
        )
        for one in usable
    }
    offered = {one.candidate.name: one.offered for one in usable if one.offered is not None}
    settings = Settings(providers=providers, models=explicit)
    settings = with_auto_models(settings, book, today, offered)
    return Found(settings, _models(settings, book), explicit, left_out)


def _is_followed(tried: Tried) -> bool:
    return tried.candidate.is_followed or tried.candidate.is_sandbox


def _explicit(
    usable: Sequence[Tried], book: Book
) -> tuple[dict[str, ModelSettings], dict[str, list[str]]]:
    """The models of servers that no table lists. One's own server costs nothing unless the price of
    its model is known; at another's, a model of unknown price is left out."""
    models: dict[str, ModelSettings] = {}
    left_out: dict[str, list[str]] = {}
    for one in usable:
        if _is_followed(one):
            continue
        name = one.candidate.name
        seller = seller_of(one.candidate.settings.kind, one.candidate.settings.base_url)
        for model in [model for model in one.offered or () if can_chat(model)]:
            is_known = book.facts_of(model, seller).prices is not None
            n_own = sum(own.provider == name for own in models.values())
            if n_own == _MOST or not (is_known or one.candidate.is_ones_own):
                left_out.setdefault(name, []).append(model)
                continue
            free = None if is_known else Decimal(0)
            listed = model if model not in models else f"{name}/{model}"
            models[listed] = ModelSettings(
                provider=name,
                upstream_model=None if listed == model else model,
                input_usd_per_mtok=free,
                output_usd_per_mtok=free,
            )
    return models, left_out


def _models(settings: Settings, book: Book) -> tuple[FoundModel, ...]:
    known = surely_known_to(settings.scorer)
    places = Places(known.models, known.marginal)
    facts = facts_of_models(settings, book)
    catalogue = build_catalogue(settings, book=book)
    marginal = known.marginal
    usual = {}
    strength: dict[str, float] = {}
    if marginal is not None:
        usual = _usual(marginal, [placed_card(places, facts, card) for card in catalogue])
        strength = dict(zip(marginal.models, marginal.coefficients.tolist(), strict=True))
    found = []
    for card in catalogue:
        place, shift = place_of(card, places, facts[card.base].thinking)
        base = None if place is None else strength.get(place.column)
        coefficient = None if base is None else base + shift
        found.append(FoundModel(card, place, coefficient, *usual.get(card.name, (None, None))))
    return tuple(sorted(found, key=_best_first))


def _best_first(model: FoundModel) -> tuple[float, str]:
    return (1.0 if model.win_rate is None else -model.win_rate), model.card.name


def _usual(
    marginal: PromptLeaderboard, cards: Sequence[ModelCard]
) -> dict[str, tuple[float | None, Decimal | None]]:
    """Maps each model to its win rate and its cost on a usual request."""
    shape = RequestShape(
        input_tokens=USUAL_INPUT_TOKENS, input_tokens_upper_bound=4 * USUAL_INPUT_TOKENS
    )
    try:
        decision = decide(marginal, cards, RoutingRequest(shape=shape), random.Random(0))
    except NoEligibleModelError:
        return {}
    return {
        one.model: (one.win_rate, one.expected_cost_usd)
        for one in decision.alternatives
        if one.eligible
    }
