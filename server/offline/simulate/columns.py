"""Columns in a score table: a model named NAME:EFFORT, where the leaderboard has NAME."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from p2l_model.types import PromptLeaderboard
from router.catalog import ModelCard
from router.leaderboard_values import standing, worth_of_shifted
from router.objective import Objective
from server.gateway.column_places import placed_card
from server.gateway.output_lengths import expected_thoughts
from server.gateway.places import Places
from server.model_facts import EFFORTS, ModelFacts, facts_of

T = TypeVar("T")


class TableRows:
    """Where a leaderboard has the models of a score table.

    row: model of the table -> the leaderboard's name for it; a model that it does not have is
    missing. thoughts: tokens of thoughts expected at the effort of a column, on top of the
    predicted answer.
    """

    def __init__(self, models: Sequence[str], leaderboard: Sequence[str]) -> None:
        names = frozenset(leaderboard)
        columns = [card for name in models if name not in names and (card := _column(name))]
        facts = {card.base: facts_of(card.base) for card in columns}
        places = Places(leaderboard, None)
        self._columns = [
            placed
            for card in columns
            if card.base in names
            for placed in (placed_card(places, facts, card),)
        ]
        self.row: dict[str, str] = {name: name for name in models if name in names}
        self.row |= {card.name: card.leaderboard_name for card in self._columns}
        self.thoughts: dict[str, float] = {}
        for card in self._columns:
            own: Mapping[str, ModelFacts] = {card.name: facts[card.base]}
            self.thoughts |= expected_thoughts(own, card.effort or "")

    def shifted(self, board: PromptLeaderboard, objective: Objective) -> dict[str, float]:
        """The values of the columns that have no row of their own effort, by model."""
        if not self._columns:
            return {}
        known = standing(board, None, objective)
        worth = worth_of_shifted(known, self._columns, objective)
        return {name: one.value for name, one in worth.items()}


def of_model(known: Mapping[str, T], name: str) -> T | None:
    """What is known of a model, or of the model that a column belongs to."""
    found = known.get(name)
    column = _column(name) if found is None else None
    return found if column is None else known.get(column.base)


def _column(name: str) -> ModelCard | None:
    """The column of that name; None where the name has no effort at its end."""
    base, _, effort = name.rpartition(":")
    if base == "" or effort not in EFFORTS:
        return None
    return ModelCard(
        name=name,
        provider="",
        upstream_model=base,
        leaderboard_name=base,
        prices=None,
        effort=effort,
    )
