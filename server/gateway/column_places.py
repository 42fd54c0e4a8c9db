"""Places columns on the leaderboard: by a row of their own effort, else by their model's row and a
difference for the effort."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from router.catalog import ModelCard
from server.gateway.places import Place, Places
from server.model_facts import EFFORTS, Effort, ModelFacts
from server.model_facts.types import Thinking

# How much stronger a model is at an effort than at medium, in natural log-odds. Half-way between
# two kinds of published results. Answers that are checked (LiveBench, November 2024 to January
# 2026, 23 models at several efforts) differ by +1.0 from none to low, +0.9 from minimal to low,
# +0.37 from low to medium, +0.18 from medium to high and +0.18 from high to xhigh. Votes of people
# (LMArena, December 2025, 14 models with and without thinking or at two efforts) differ by -0.01 to
# +0.15 in all. No result is known for max.
_STRENGTHS: Final[Mapping[Effort, float]] = {
    "none": -0.70,
    "minimal": -0.65,
    "low": -0.20,
    "medium": 0.0,
    "high": 0.14,
    "xhigh": 0.24,
    "max": 0.28,
}
# How leaderboards and benchmarks write a model at an effort, after its name.
_ENDING: Final = re.compile(
    r"[-_: (]+(?:thinking-)?(none|minimal|low|medium|high|xhigh|max|no-?thinking|non-reasoning)"
    r"(?:[- ](?:effort|reasoning))?\)?"
)


def placed_card(places: Places, facts: Mapping[str, ModelFacts], card: ModelCard) -> ModelCard:
    """The card with the leaderboard's row that stands for it, and for a column the difference from
    that row. facts: by the name of the model."""
    if card.effort is None:
        return places.placed(card)
    known = facts.get(card.base)
    place, shift = place_of(card, places, None if known is None else known.thinking)
    if place is None:
        return card
    return replace(
        card,
        leaderboard_name=place.column,
        coefficient_shift=shift,
        coefficient_sd=place.sd,
        rests_on="" if place.rests_on == "own" else place.basis,
    )


def place_of(
    card: ModelCard, places: Places, thinking: Thinking | None = None
) -> tuple[Place | None, float]:
    """The place of a card, and the difference of a column's coefficient from the row's. A model's
    plain row stands for the effort at which the model answers by itself."""
    effort, name = _effort(card.effort), card.leaderboard_name
    if effort is None:
        place = places.of(card)
        return place, 0.0 if place is None else place.shift
    rows = _rows_of(name, places.names)
    if effort in rows:
        return Place(rows[effort], "own"), 0.0
    if rows and name not in places.names:
        at = min(rows, key=lambda one: abs(_STRENGTHS[one] - _STRENGTHS[effort]))
        return Place(rows[at], "own"), difference(at, effort)
    place = places.of(card)
    by = difference(_usual(thinking), effort)
    return place, by if place is None else round(place.shift + by, 4)


def difference(at: Effort, effort: Effort) -> float:
    """How much a model gains from one effort to another, in natural log-odds: above 0 where the
    second is higher."""
    return round(_STRENGTHS[effort] - _STRENGTHS[at], 2)


def _rows_of(name: str, rows: Iterable[str]) -> dict[Effort, str]:
    """The leaderboard's rows of a model at an effort."""
    found: dict[Effort, str] = {}
    for row in sorted(rows):
        if row.lower().startswith(name.lower()):
            ending = _ENDING.fullmatch(row[len(name) :].lower())
            said = None if ending is None else ending[1]
            effort = _effort("none" if said is not None and said.startswith("no") else said)
            if effort is not None:
                found.setdefault(effort, row)
    return found


def _usual(thinking: Thinking | None) -> Effort:
    """The effort at which a model answers where it is asked for none in particular."""
    if thinking is None:
        return "medium"
    if thinking.use == "optional":
        return "none"
    return thinking.default_effort or "medium"


def _effort(name: str | None) -> Effort | None:
    return next((effort for effort in EFFORTS if effort == name), None)
