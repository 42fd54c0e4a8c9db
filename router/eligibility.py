"""Who can serve a request at all, and why the others cannot. Comes before any optimising."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from p2l_model.types import PromptLeaderboard
from router.catalog import ModelCard
from router.cost import (
    RequestShape,
    expected_cost_usd,
    expected_output_tokens,
    largest_output_cap,
    least_hard_cap,
    worst_case_cost_usd,
)
from router.decision import Alternative, BudgetMode
from router.errors import BudgetInfeasibleError

_OVER_BUDGET = "its worst case is over the hard budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRequest:
    """What is asked of the router.

    budget_usd: None for no budget. allowed: catalogue names, None for all. opponents:
    leaderboard name -> weight, None for all alike. excluded: catalogue name -> why not now.
    """

    shape: RequestShape
    budget_usd: Decimal | None = None
    budget_mode: BudgetMode = BudgetMode.EXPECTED
    allowed: tuple[str, ...] | None = None
    opponents: Mapping[str, float] | None = None
    excluded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model with what this prompt says of it. coefficient: NaN where the leaderboard has none.
    reason: why it is not eligible, None where it is."""

    card: ModelCard
    coefficient: float
    expected_output_tokens: float
    expected_cost_usd: Decimal | None
    reason: str | None

    def row(self, win_rate: float) -> Alternative:
        """As it is shown to people. win_rate: NaN where there is none."""
        return Alternative(
            model=self.card.name,
            coefficient=self.coefficient if math.isfinite(self.coefficient) else None,
            win_rate=win_rate if math.isfinite(win_rate) else None,
            expected_output_tokens=self.expected_output_tokens,
            expected_cost_usd=self.expected_cost_usd,
            eligible=self.reason is None,
            reason=self.reason,
        )


def candidates(
    leaderboard: PromptLeaderboard, catalogue: Sequence[ModelCard], request: RoutingRequest
) -> list[Candidate]:
    """One per card, eligible or not."""
    column = {name: index for index, name in enumerate(leaderboard.models)}
    coefficients = leaderboard.coefficients.tolist()
    lengths = leaderboard.expected_output_tokens
    predicted = None if lengths is None else lengths.tolist()
    found = []
    for card in catalogue:
        index = column.get(card.leaderboard_name)
        coefficient = math.nan if index is None else coefficients[index]
        length = None if predicted is None or index is None else predicted[index]
        found.append(
            Candidate(
                card,
                coefficient,
                float(expected_output_tokens(card, request.shape, length)),
                expected_cost_usd(card, request.shape, length),
                _reason(card, coefficient, request),
            )
        )
    return found


def infeasible_hard(
    found: Sequence[Candidate], request: RoutingRequest
) -> BudgetInfeasibleError | None:
    """The error where nothing but a hard budget stands in the way; None where something else does.

    Names the model whose worst case is the smallest.
    """
    worst = [
        (cost, c.card.name)
        for c in found
        if c.reason == _OVER_BUDGET
        and (
            cost := worst_case_cost_usd(
                c.card, request.shape, least_hard_cap(c.card, request.shape)
            )
        )
        is not None
    ]
    if not worst or request.budget_usd is None:
        return None
    cost, name = min(worst)
    return BudgetInfeasibleError(name, cost, request.budget_usd, "a worst-case cost")


def _reason(card: ModelCard, coefficient: float, request: RoutingRequest) -> str | None:
    if request.allowed is not None and card.name not in request.allowed:
        return "not in the allow-list"
    if card.name in request.excluded:
        return request.excluded[card.name]
    if not math.isfinite(coefficient):
        return f"the leaderboard has no coefficient for {card.leaderboard_name}"
    return _cannot(card, request.shape) or _cannot_pay(card, request)


def _cannot(card: ModelCard, shape: RequestShape) -> str | None:
    missing = set() if card.capabilities is None else shape.needs - card.capabilities
    if missing:
        return f"lacks {', '.join(sorted(missing))}"
    wanted = shape.input_tokens + (shape.max_output_tokens or 1)
    if card.context_window is not None and wanted > card.context_window:
        return f"its context of {card.context_window} tokens is under the {wanted} needed"
    return None


def _cannot_pay(card: ModelCard, request: RoutingRequest) -> str | None:
    if request.budget_usd is None:
        return None
    if card.prices is None:
        return "its price is unknown, and there is a budget: configure its prices"
    if request.budget_mode is BudgetMode.EXPECTED:
        return None
    fits = largest_output_cap(card, request.shape, request.budget_usd)
    return _OVER_BUDGET if fits is None else None
