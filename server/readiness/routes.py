"""Checks whether there is a model to choose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from router.catalog import ModelCard
from server.catalogue.auto_models import takes_all
from server.config.settings import Settings


def is_routed(card: ModelCard, columns: Sequence[str]) -> bool:
    """Whether a model can be chosen: every model has a place on a leaderboard that has any
    columns."""
    return bool(columns) and card.retired is None


def route_problems(
    settings: Settings, catalogue: Sequence[ModelCard], columns: Sequence[str]
) -> Iterator[str]:
    """A sentence for each group (all requests, a profile or a key) for which no model can be
    chosen."""
    if not catalogue:
        if not awaits_lists(settings):
            yield "no model can be routed: name at least one under models"
        return
    able = [card for card in catalogue if is_routed(card, columns)]
    routed = {name for card in able for name in (card.name, card.base)}
    if not columns:
        yield "no model can be routed: the leaderboard is empty: set scorer.checkpoint to another"
    elif not routed:
        models = {card.base: card for card in catalogue}
        yield f"no model can be routed: {'; '.join(map(_why, models.values()))}"
    else:
        cards = {name: card for card in catalogue for name in (card.name, card.base)}
        for field, names in _allow_lists(settings):
            if routed.isdisjoint(names):
                why = "; ".join(_why(cards[name]) for name in names if name in cards)
                yield f"{field}: none of its models can be routed: {why or 'it is empty'}"


def awaits_lists(settings: Settings) -> bool:
    """Whether there will be models once the list of the operator's own server has been read."""
    return any(p.models == "auto" and takes_all(p) for p in settings.providers.values())


def hints(settings: Settings, columns: Sequence[str]) -> Iterator[str]:
    """A sentence for each leaderboard_name that the leaderboard does not have."""
    known = set(columns)
    for name, model in settings.models.items():
        wanted = model.leaderboard_name
        if wanted is None or wanted in known:
            continue
        close = get_close_matches(wanted, columns, n=1)
        meant = f"did you mean {close[0]}?" if close else "`p2l-router leaderboard` shows its names"
        yield f"models.{name}.leaderboard_name: the leaderboard has no {wanted}: {meant}"


def _why(card: ModelCard) -> str:
    return (
        f"{card.base}: {card.retired}: configure another model, or set models.{card.base}.retired: "
        "allow"
    )


def _allow_lists(settings: Settings) -> Iterator[tuple[str, Sequence[str]]]:
    routing = settings.routing
    if routing.models is not None:
        yield "routing.models", routing.models
    for name, rules in routing.profiles.items():
        if rules.models is not None:
            yield f"routing.profiles.{name}.models", rules.models
    for key in settings.auth.keys:
        if key.models is not None:
            yield f"auth.keys.{key.name}.models", key.models
