"""What a decision is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from router.catalog import ModelCard


class BudgetMode(StrEnum):
    """expected: the mean cost of the draw is within the budget (Theorem 1).
    hard: this one request cannot cost more."""

    EXPECTED = "expected"
    HARD = "hard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A model of the catalogue, chosen or not. None: not known. reason: why it was out."""

    model: str
    coefficient: float | None
    win_rate: float | None
    expected_output_tokens: float | None
    expected_cost_usd: Decimal | None
    eligible: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The chosen model and all that the choice rests on.

    mix: model -> probability, one or two models. win_rate and expected_cost_usd are the chosen
    model's, mix_* the mix's. coefficient: the router's own (Algorithm 1). shadow_price: win rate
    per USD. max_output_tokens, worst_case_cost_usd: hard mode's cap, and the cost at it.
    """

    model: str
    card: ModelCard
    mix: Mapping[str, float]
    win_rate: float
    expected_cost_usd: Decimal | None
    mix_win_rate: float
    mix_expected_cost_usd: Decimal | None
    coefficient: float
    shadow_price: float
    budget_usd: Decimal | None
    budget_mode: BudgetMode
    max_output_tokens: int | None
    worst_case_cost_usd: Decimal | None
    alternatives: tuple[Alternative, ...]
    explanation: str
