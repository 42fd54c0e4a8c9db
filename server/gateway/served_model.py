"""Which model really answered: another than the one asked for is recorded, and billed as such."""

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

# Month and day, or year and month, as in gpt-4-0613 and mistral-large-2411; a stable version of
# Google's, as in gemini-2.0-flash-001; and what stands for the newest of them.
_SNAPSHOT: Final = re.compile(
    r"-(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])|2[3-9](?:0[1-9]|1[0-2])"
    r"|(?:0[1-9]|1[0-2])-20[2-9][0-9]|00[1-9]|latest)$"
)
# Part of the name, but for hosts that put their own version behind it.
_VERSION: Final = re.compile(r"^[^.]+-v\d+$")
_MOST_KEPT: Final = 4096

Known = Callable[[str], str | None]


class _Unknown(Enum):
    """What the catalogue does not tell."""

    ASK = "ask"


def same_model(asked: str, answered: str, known: Known) -> bool:
    """Whether a name in an answer is one of the model that was asked for.

    Snapshots, aliases and hosts' spellings are, and so are names of which nobody knows a model:
    deployments are called whatever their owner likes. known: a name -> the model's own name, None
    where it is no well-known model's.
    """
    own, other = _own_name(asked), _own_name(answered)
    if own == other:
        return True
    one, two = known(asked), known(answered)
    if two is None:
        return True
    if one is None:
        # a retired model of a known family, or a deployment, perhaps called after its model
        return family_of(own) is None or own.startswith(f"{other}-")
    return _own_name(one) == _own_name(two)


@lru_cache(maxsize=_MOST_KEPT)
def _own_name(name: str) -> str:
    """Without its host's spelling and its date."""
    bare = name.strip().lower().rpartition("/")[2]
    if _VERSION.match(bare) is None:
        bare = canonical(bare)
    bare = bare.removesuffix(":latest")
    before = ""
    while bare != before:
        before, bare = bare, _SNAPSHOT.sub("", undated(bare))
    return bare


class ServedModels:
    """What the names in answers stand for, found out once for each.

    cards: the catalogue, which is believed before the price list. moment: decides which list price
    is in force.
    """

    def __init__(self, cards: Sequence[ModelCard] = (), moment: datetime | None = None) -> None:
        self._cards = tuple(cards)
        self._moment = moment or datetime.now(UTC)
        self._found: dict[tuple[str, str], ModelCard | None] = {}

    async def other(self, card: ModelCard, answered: str) -> ModelCard | None:
        """The model that answered in another's place, None where it is the card's own.

        answered: what the provider calls it. Its prices are None where nobody knows them.
        """
        key = card.name, answered
        if key not in self._found:
            found = self._in_the_catalogue(card, answered)
            if isinstance(found, _Unknown):
                # to load the price list takes longer than other requests should wait
                found = await anyio.to_thread.run_sync(self._listed, card, answered)
            if len(self._found) >= _MOST_KEPT:
                self._found.clear()
            self._found[key] = found
        return self._found[key]

    def _in_the_catalogue(self, card: ModelCard, answered: str) -> ModelCard | _Unknown | None:
        own = _own_name(answered)
        if own in (_own_name(card.upstream_model), _own_name(card.name)):
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

        asked = card.upstream_model if known(card.upstream_model) is not None else card.name
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
