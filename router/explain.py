"""Explains a decision to a person in a few sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from router.objective import Objective
from router.request import BudgetMode


class Alternative(NamedTuple):
    """A model of the catalogue as it is shown, chosen or not; None means not known.

    value: of the objective, which is the win rate unless a profile says otherwise. reason: why the
    model was not eligible.
    """

    model: str
    coefficient: float | None
    win_rate: float | None
    value: float | None
    expected_output_tokens: float | None
    expected_cost_usd: Decimal | None
    eligible: bool
    reason: str | None


class Told(NamedTuple):
    """The facts of a decision that the explanation uses; the fields are Decision's. alternatives:
    best first."""

    model: str
    objective: Objective
    value: float
    expected_cost_usd: Decimal | None
    max_output_tokens: int | None
    worst_case_cost_usd: Decimal | None
    mix: Mapping[str, float]
    mix_value: float
    usd_per_win: Decimal | None
    budget_usd: Decimal | None
    budget_mode: BudgetMode
    alternatives: Sequence[Alternative]
    is_kept: bool = False
    kept_note: str | None = None
    is_held: bool = False


def explain(decision: Told) -> str:
    """Says which model was chosen and from which mix, why the model to be kept does not answer, and
    what the best model out of reach would have added."""
    return "; ".join([_chosen(decision), *_mixed(decision), *_left(decision), *_dearer(decision)])


def _chosen(decision: Told) -> str:
    cost = decision.expected_cost_usd
    at = "an unknown cost" if cost is None else f"{_usd(cost)} USD"
    text = f"{decision.model}: {_value(decision.objective, decision.value)} at {at}"
    if decision.max_output_tokens is not None and decision.worst_case_cost_usd is not None:
        text += (
            f", {_usd(decision.worst_case_cost_usd)} USD at most with answers of up to "
            f"{decision.max_output_tokens} tokens"
        )
    return text


def _mixed(decision: Told) -> list[str]:
    if decision.is_kept:
        return ["kept, because it made the tool calls whose results the request brings"]
    if decision.is_held:
        return ["kept, because it gave the last answer, and a change is not worth its price"]
    if len(decision.mix) < 2:
        return []
    parts = " and ".join(f"{name} ({share:.1%})" for name, share in decision.mix.items())
    together = _value(decision.objective, decision.mix_value)
    return [f"drawn from {parts}, together {together} within the budget"]


def _left(decision: Told) -> list[str]:
    """Why the model that made the tool calls does not continue."""
    note = decision.kept_note
    return [] if note is None else [f"the model of its tool loop could not be kept ({note})"]


def _dearer(decision: Told) -> list[str]:
    """What the best model out of reach would have added."""
    better = next((row for row in decision.alternatives if _beats(row, decision)), None)
    if better is None or better.value is None:
        return []
    points = 100.0 * (better.value - decision.value)
    text = f"{better.model} would add {points:.1f} points"
    if better.expected_cost_usd is not None and decision.expected_cost_usd:
        text += f" for {better.expected_cost_usd / decision.expected_cost_usd:.1f}x the cost"
    if _too_dear_for_a_win(better, decision):
        text += f", not worth it at {worth_shown(decision.usd_per_win)} USD a win"
    return [text]


def worth_shown(usd_per_win: Decimal | None) -> str:
    """What a win is worth, with three digits that count and without an exponent."""
    if usd_per_win is None:
        return "0"
    text = format(Decimal(f"{usd_per_win:.3g}"), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _beats(row: Alternative, decision: Told) -> bool:
    over = row.eligible or decision.budget_mode is BudgetMode.HARD
    return over and row.value is not None and row.value > decision.value


def _too_dear_for_a_win(row: Alternative, decision: Told) -> bool:
    """Whether usd_per_win, and not the budget, ruled the model out."""
    worth, cost, own = decision.usd_per_win, row.expected_cost_usd, decision.expected_cost_usd
    if worth is None or cost is None or own is None or row.value is None:
        return False
    affordable = decision.budget_usd is None or cost <= decision.budget_usd
    return affordable and float(cost - own) >= (row.value - decision.value) * float(worth)


def _value(objective: Objective, value: float) -> str:
    if objective is Objective.P_GOOD:
        return f"{value:.1%} chance of a good answer"
    if objective is Objective.EXPECTED_SCORE:
        return f"expected score {value:.3f}"
    return f"{value:.1%} win rate"


def _usd(amount: Decimal) -> str:
    return f"{float(amount):.2g}" if amount < Decimal("0.0001") else f"{amount:.4f}"
