"""The dashboard's JSON for models: where each stands, what that rests on, and what it cost here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from router.catalog import ModelCard
from server.config.configured_facts import facts_of_models
from server.gateway.local_layers import usual_values
from server.model_facts import ModelFacts
from server.state import State
from server.storage.feedback import answers_by_model
from server.storage.spend import Spend, spend

# Half the width of an 80% interval, in standard deviations.
_EIGHTY: Final = 1.2816
_OWN: Final = "the leaderboard's own column"
_UNKNOWN: Final = "nothing: the leaderboard has no such model"
_SPAN_S: Final = 30 * 86_400


def known_models(state: State) -> list[dict[str, Any]]:
    """Each model and column of the catalogue, the strongest first. coefficient: for no prompt in
    particular, in natural log-odds; sd: its standard deviation, 0 where votes have placed it;
    interval80: what follows. attempts, mean_cost_usd: of the last 30 days. Blocks. Raises
    StorageError."""
    database, now = state.store.database, time.time()
    used = {one.group: one for one in spend(database, "model", now - _SPAN_S, now + 1)}
    answers = answers_by_model(database)
    rows = list(_rows(state, used, answers))
    return sorted(rows, key=lambda row: (-_strength(row), row["model"]))


def _strength(row: Mapping[str, Any]) -> float:
    return -np.inf if row["coefficient"] is None else float(row["coefficient"])


def _rows(
    state: State, used: Mapping[str, Spend], answers: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    planner = state.gateway.planner
    marginal = planner.scorer.marginal
    usual: dict[str, float] = {}
    if marginal is not None:
        usual = dict(zip(marginal.models, marginal.coefficients.tolist(), strict=True))
    frame = planner.frame()
    learnt = {} if frame is None else usual_values(planner.local, frame)
    facts = facts_of_models(state.settings)
    for card in planner.catalogue.values():
        at, sd = usual.get(card.leaderboard_name), card.coefficient_sd
        coefficient = None if at is None else at + card.coefficient_shift
        rests_on = card.rests_on or (_UNKNOWN if at is None else _OWN)
        if card.name in learnt:
            coefficient, sd = learnt[card.name]
            rests_on += "; answers here"
        yield {
            "model": card.name,
            "provider": card.provider,
            "coefficient": coefficient,
            "sd": sd,
            "interval80": None if coefficient is None else _around(coefficient, _EIGHTY * sd),
            "rests_on": rests_on,
            "answers": sum(answers.get(name, 0) for name in _names(card)),
            **_use(used.get(card.name)),
            **_end(card, facts.get(card.base)),
        }  # fmt: skip


def _names(card: ModelCard) -> set[str]:
    """The names under which answers of the model may be stored: older ones have that of its row."""
    is_own = card.rests_on == "" and card.effort is None
    return {card.name, card.leaderboard_name} if is_own else {card.name}


def _around(middle: float, width: float) -> list[float]:
    return [middle - width, middle + width]


def _use(used: Spend | None) -> dict[str, Any]:
    if used is None or used.attempts == 0:
        return {"attempts": 0, "cost_usd": 0.0, "mean_cost_usd": None}
    cost = float(used.cost_usd)
    return {"attempts": used.attempts, "cost_usd": cost, "mean_cost_usd": cost / used.attempts}


def _end(card: ModelCard, known: ModelFacts | None) -> dict[str, Any]:
    """When the model ends where it is sold, or else at its vendor."""
    ends = None if known is None else known.retirement or known.vendor_retirement
    if ends is None:
        return {"retired": card.retired, "ends_on": None, "ends_in_days": None, "successor": None}
    today = datetime.now(UTC).date()
    return {
        "retired": card.retired,
        "ends_on": ends.on.isoformat(),
        "ends_in_days": (ends.on - today).days,
        "successor": ends.successor,
    }
