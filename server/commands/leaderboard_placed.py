"""Models without a column in a leaderboard, at the places that public facts give them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2l_model.placement.place import bundled_placer
from p2l_model.types import PromptLeaderboard
from router.catalog import ModelCard
from router.leaderboard_values import standing, worth_of_shifted
from router.objective import Objective
from server.gateway.places import Place, Places, strongest, taken_off

ALL = "all"


class PlacedRows:
    """Adds placed models to leaderboards. marginal: the leaderboard for no prompt in particular,
    of the same models. names: of the models that are shown; `all` stands for those of the
    leaderboard and of the table of facts."""

    def __init__(self, marginal: PromptLeaderboard, names: Sequence[str]) -> None:
        self._every = ALL in names
        listed = [name for name in names if name != ALL]
        wanted = [*listed, *bundled_placer().models] if self._every else listed
        places = Places(marginal.models, marginal)
        self._usual = marginal.coefficients
        self._strongest = strongest(marginal.coefficients)
        self._at = {name: index for index, name in enumerate(marginal.models)}
        found = {name: places.of(_card(name, name, 0.0)) for name in dict.fromkeys(wanted)}
        self._placed: dict[str, Place] = {}
        self._own: set[str] = set()
        for name, place in found.items():
            if place is not None and place.rests_on == "own":
                self._own.add(place.column)
            elif place is not None:
                self._placed[name] = place

    def added(self, shown: dict[str, Any], board: PromptLeaderboard) -> dict[str, Any]:
        """The leaderboard as JSON, with the placed models among its rows, best first.

        shown: of `board`, as JSON. Every row says whether it is `placed`, and the standard
        deviation `sd` of its coefficient, in natural log-odds: 0 for a model's own column.
        """
        own = [
            row | {"placed": False, "sd": 0.0}
            for row in shown["data"]
            if self._every or row["model"] in self._own
        ]
        rows = [*own, *self._rows(board)]
        rows.sort(key=lambda row: (math.isnan(row["coefficient"]), -row["coefficient"]))
        return shown | {"data": [row | {"rank": rank} for rank, row in enumerate(rows, 1)]}

    def _rows(self, board: PromptLeaderboard) -> Iterator[dict[str, Any]]:
        placed = self._placed.values()
        columns = np.array([self._at[place.column] for place in placed], dtype=np.int64)
        off = taken_off(board.coefficients, self._usual, self._strongest, columns).tolist()
        by = [round(place.shift + own, 4) for place, own in zip(placed, off, strict=True)]
        moved = dict(zip(self._placed, by, strict=True))
        cards = [_card(name, place.column, moved[name]) for name, place in self._placed.items()]
        shifts = {name: (moved[name], place.sd) for name, place in self._placed.items()}
        known = standing(board, None, Objective.WIN_RATE)
        for name, worth in worth_of_shifted(known, cards, Objective.WIN_RATE, shifts).items():
            yield {
                "model": name,
                "rank": 0,
                "coefficient": worth.coefficient,
                "win_rate": worth.win_rate,
                "expected_output_tokens": None,
                "expected_cost_usd": None,
                "placed": True,
                "sd": self._placed[name].sd,
            }


def _card(name: str, column: str, shift: float) -> ModelCard:
    return ModelCard(
        name=name,
        provider="",
        upstream_model=name,
        leaderboard_name=column,
        prices=None,
        coefficient_shift=shift,
    )
