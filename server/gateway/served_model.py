"""Finds out which model answered. Where it is not the one asked for, it is recorded and billed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Final

import anyio.to_thread

from router.catalog import ModelCard
from server.catalogue.price_list import Named, look_up_named
from server.model_facts.names import canonical, undated
from server.model_facts.rules import family_of

# Endings of snapshots: month and day, or year and month, as in gpt-4-0613 and mistral-large-2411; a
# stable version of Google's, as in gemini-2.0-flash-001; and words for the newest snapshot.
_SNAPSHOT: Final = re.compile(
    r"-(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])|2[3-9](?:0[1-9]|1[0-2])"
    r"|(?:0[1-9]|1[0-2])-20[2-9][0-9]|00[1-9]|latest)$"
)
# Part of a model's name, except with hosts that append their own version.
_VERSION: Final = re.compile(r"^[^.]+-v\d+$")
_MOST_KEPT: Final = 4096

Known = Callable[[str], str | None]


class _Unknown(Enum):
    """Marks a model that the catalogue does not know."""

    ASK = "ask"


def same_model(asked: str, answered: str, known: Known) -> bool:
    """Whether a name in an answer denotes the model that was asked for.

    Snapshots, aliases and hosts' spellings do. So do names of no known model, because deployments
    can be named freely by their owners. known: maps a name to the model's own name, or to None
    where it is no well-known model's.
    """
    own, other = _own_name(asked), _own_name(answered)
    if own == other:
        return True
    one, two = known(asked), known(answered)
    if two is None:
        return True
    if one is None:
        # It is a retired model of a known family, or a deployment, perhaps named after its model.
        return family_of(own) is None or own.startswith(f"{other}-")
    return _own_name(one) == _own_name(two)


@lru_cache(maxsize=_MOST_KEPT)
def _own_name(name: str) -> str:
    """The name without its host's prefix and its date."""
    bare = name.strip().lower().rpartition("/")[2]
    if _VERSION.match(bare) is None:
        bare = canonical(bare)
    bare = bare.removesuffix(":latest")
    before = ""
    while bare != before:
        before, bare = bare, _SNAPSHOT.sub("", undated(bare))
    return bare


class ServedModels:
    """Finds the models that the names in answers stand for, once for each name.

    cards: the catalogue, which takes precedence over the price list. moment: decides which list
    price is in force.
    """

    def __init__(self, cards: Sequence[ModelCard] = (), moment: datetime | None = None) -> None:
        self._cards = tuple(cards)
        self._moment = moment or datetime.now(UTC)
        self._found: dict[tuple[str, str], ModelCard | None] = {}

    async def other(self, card: ModelCard, answered: str) -> ModelCard | None:
        """The model that answered in place of the card's; None where the card's own model did.

        answered: the provider's name for it. Its prices are None where they are unknown.
        """
        key = card.name, answered
        if key not in self._found:
            found = self._in_the_catalogue(card, answered)
            if isinstance(found, _Unknown):
                # Loading the price list takes too long for the event loop.
                found = await anyio.to_thread.run_sync(self._listed, card, answered)
            if len(self._found) >= _MOST_KEPT:
                self._found.clear()
            self._found[key] = found
        return self._found[key]

    def _in_the_catalogue(self, card: ModelCard, answered: str) -> ModelCard | _Unknown | None:
        own = _own_name(answered)
        if own in (_own_name(card.upstream_model), _own_name(card.base)):
            return None
        return self._card_of(own, card.provider) or _Unknown.ASK

    def _card_of(self, own: str, provider: str | None = None) -> ModelCard | None:
        for card in self._cards:
            if provider in (None, card.provider) and _own_name(card.upstream_model) == own:
                return card
        return None

    def _listed(self, card: ModelCard, answered: str) -> ModelCard | None:
        named: dict[str, Named | None] = {}

        def known(name: str) -> str | None:
            if name not in named:
                named[name] = look_up_named(_own_name(name), name, self._moment)
            found = named[name]
            return None if found is None else found.name

        asked = card.upstream_model if known(card.upstream_model) is not None else card.base
        if same_model(asked, answered, known):
            return None
        listed = named[answered]
        return self._card_of(_own_name(answered)) or ModelCard(
            name=answered,
            provider=card.provider,
            upstream_model=answered,
            leaderboard_name=answered,
            prices=None if listed is None else listed.prices,
        )
