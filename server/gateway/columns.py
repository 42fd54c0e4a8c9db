"""The columns of the catalogue: which models have them, and which of them a request may use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from router.catalog import ModelCard
from server.gateway.output_lengths import OutputLengths, expected_thoughts
from server.model_facts import EFFORTS, ModelFacts
from server.upstream.base import Fit

_NONE: Final[Mapping[str, str]] = {}
# Stands for the effort that a model has by itself.
_BY_ITSELF: Final = "medium"
_UNSENT: Final = "this request cannot be sent with the effort {}"

_OWN_ROW: Final[Mapping[str, Any]] = {"coefficient_shift": 0.0, "coefficient_sd": 0.0}


class Columns:
    """The columns of a catalogue; a catalogue without any costs its requests nothing.

    models: catalogue name -> the card of a model that has columns, as it is asked for by its own
    name (default: made from its first column). names: the same, with the whole catalogue.
    """

    def __init__(
        self,
        catalogue: Sequence[ModelCard] = (),
        models: Mapping[str, ModelCard] | None = None,
    ) -> None:
        self._of: dict[str, list[ModelCard]] = {}
        for card in catalogue:
            if card.effort is not None:
                self._of.setdefault(card.base, []).append(card)
        if models is None:
            models = {
                base: replace(
                    cards[0], name=base, effort=None, coefficient_shift=0.0, coefficient_sd=0.0
                )
                for base, cards in self._of.items()
            }
        self.models = models
        self.names: Mapping[str, ModelCard] = {
            **{card.name: card for card in catalogue},
            **models,
        }
        self._ruled_out: dict[str, Mapping[str, str]] = {}

    @property
    def exist(self) -> bool:
        """Whether any model has columns."""
        return len(self._of) > 0

    def expanded(self, names: Collection[str]) -> Collection[str]:
        """The names of models and columns, with a model's name replaced by those of its columns."""
        if self._of.keys().isdisjoint(names):
            return names
        found = [self._of.get(name) for name in names]
        pairs = zip(names, found, strict=True)
        return [one for name, own in pairs for one in ([name] if own is None else _names(own))]

    def nearest(self, model: str, effort: str) -> ModelCard | None:
        """The column of a model for an effort: the lowest that is at least as high, else the
        highest. model: its name, or that of one of its columns. None: it has no columns."""
        named = self.names.get(model)
        own = self._of.get(model if named is None else named.base)
        if own is None:
            return None
        wanted = _rank(effort)
        return next((card for card in own if _rank(card.effort or "") >= wanted), own[-1])

    def listed(self) -> Iterator[ModelCard]:
        """Yields every card that a request may name: the catalogue in its order, and each model
        before its columns."""
        shown: set[str] = set()
        for card in self.names.values():
            model = self.models.get(card.base)
            if model is not None and model.name not in shown:
                shown.add(model.name)
                yield model
            if card.name not in shown:
                shown.add(card.name)
                yield card

    def excluded(self, fits: Mapping[str, Fit], pinned: str) -> dict[str, str]:
        """The columns that may not answer a request: catalogue name -> reason. pinned: the effort
        that it asks for; empty where the router chooses."""
        if not self._of:
            return {}
        out = self.ruled_out(pinned)
        return {**out, **self.unsent(fits, out)}

    def ruled_out(self, effort: str) -> Mapping[str, str]:
        """The columns that an effort rules out: catalogue name -> reason. effort: empty where the
        router chooses."""
        if effort == "":
            return _NONE
        found = self._ruled_out.get(effort)
        if found is None:
            nearest = {base: self.nearest(base, effort) for base in self._of}
            found = self._ruled_out[effort] = {
                card.name: f"the request asks for the effort {effort}, nearest to {best.name}"
                for base, own in self._of.items()
                for card in own
                if (best := nearest[base]) is not None and card is not best
            }
        return found

    def unsent(self, fits: Mapping[str, Fit], out: Mapping[str, str]) -> Mapping[str, str]:
        """The columns whose effort this request cannot be sent with: catalogue name -> reason. The
        lowest column stands for a model that can be sent none of its efforts. out: the columns that
        are ruled out already."""
        found: dict[str, str] = {}
        for own in self._of.values():
            left = [card for card in own if card.name not in out and _is_able(fits.get(card.name))]
            lost = [card for card in left if fits[card.name].effort != card.effort]
            for card in lost[1:] if len(lost) == len(left) else lost:
                found[card.name] = _UNSENT.format(card.effort)
        return found

    def kept(self, model: str | None, effort: str) -> str | None:
        """The name of the column that stays in a tool loop: another one of the same model where the
        request names another effort. model: the one that answered last, which may have got other
        columns since."""
        if model is None:
            return None
        now = self._renamed(model)
        column = None if effort == "" or not self._of else self.nearest(now, effort)
        return now if column is None else column.name

    def _renamed(self, model: str) -> str:
        """The name that a model has now, where its columns were configured or removed since it
        answered; the name itself where the model is gone."""
        if model in self.names and model not in self.models:
            return model
        base, _, effort = model.rpartition(":")
        if model in self.models:
            base, effort = model, _BY_ITSELF
        elif effort not in EFFORTS or base not in self.names:
            return model
        column = self.nearest(base, effort)
        return base if column is None else column.name

    def rest(self, session: Mapping[str, Any], effort: str) -> Mapping[str, Any]:
        """What else a session contributes to a decision (Terms.rest), where the model that answered
        last is named by the column that the request's effort leaves of it."""
        held = session.get("held")
        now = self.kept(held, effort)
        return session if now == held else {**session, "held": now}

    def cached_tokens(self, held: dict[str, int], keeps: Collection[str]) -> dict[str, int]:
        """The cached tokens by catalogue name, where a cache that a change of effort keeps serves
        all columns of its model. held: by the column that filled it; keeps: the models and columns
        whose cache is kept so."""
        if not self._of or not held:
            return held
        found = dict(held)
        for name, tokens in held.items():
            own = self._of.get(self.names[name].base) if name in self.names else None
            for card in (own or ()) if name in keeps else ():
                found[card.name] = max(tokens, found.get(card.name, 0))
        return found

    def thoughts(
        self, at_effort: Mapping[str, float], facts: Mapping[str, ModelFacts]
    ) -> Mapping[str, float]:
        """The expected thoughts of all models, where each column has those of its own effort.
        at_effort: those at the request's effort, by catalogue name; facts: by catalogue name."""
        if not self._of:
            return at_effort
        found = dict(at_effort)
        for card in self._all():
            found.pop(card.name, None)
            known = facts.get(card.base)
            if known is not None:
                found |= expected_thoughts({card.name: known}, card.effort or "")
        return found

    def length_factors(
        self, lengths: OutputLengths, effort: str, caller: str
    ) -> Mapping[str, float]:
        """The factors on the expected lengths of all models; see OutputLengths.factors."""
        factors = lengths.factors(effort, caller)
        if not self._of:
            return factors
        own = {c.name: lengths.factors(c.effort or "", caller).get(c.base) for c in self._all()}
        return {**factors, **{name: factor for name, factor in own.items() if factor is not None}}

    def facts(self, facts: Mapping[str, ModelFacts]) -> Mapping[str, ModelFacts]:
        """The facts by catalogue name, including the columns. facts: by model."""
        if not self._of:
            return facts
        own = {card.name: facts[card.base] for card in self._all() if card.base in facts}
        return {**facts, **own}

    def _all(self) -> Iterable[ModelCard]:
        return (card for own in self._of.values() for card in own)


def same_models(catalogue: Sequence[ModelCard], names: Iterable[str]) -> list[str]:
    """The catalogue names of all columns of the models that some names belong to: where one column
    has failed, its model is not asked again at another effort."""
    asked = list(names)
    models = {card.base for card in catalogue if card.name in asked}
    return [*asked, *(c.name for c in catalogue if c.base in models and c.name not in asked)]


def _is_able(fit: Fit | None) -> bool:
    return fit is not None and fit.reason is None


def _names(cards: Iterable[ModelCard]) -> list[str]:
    return [card.name for card in cards]


def _rank(effort: str) -> int:
    return next((rank for rank, one in enumerate(EFFORTS) if one == effort), len(EFFORTS))
