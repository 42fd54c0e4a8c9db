"""What a decision is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from router.catalog import ModelCard
from router.explain import explain
from router.objective import Objective
from router.request import BudgetMode, RoutingRequest


class Alternative(NamedTuple):
    """A model of the catalogue, chosen or not. None: not known. value: of the objective, which is
    the win rate unless a profile says otherwise. reason: why it was out."""

    model: str
    coefficient: float | None
    win_rate: float | None
    value: float | None
    expected_output_tokens: float | None
    expected_cost_usd: Decimal | None
    eligible: bool
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The chosen model and all that the choice rests on.

    request: what was asked. mix: model -> probability, one or two models (more under several
    constraints). win_rate and expected_cost_usd are the chosen model's, mix_* the mix's; value
    likewise, of the objective.
    shadow_price: what one more dollar of this request's budget would add to the objective.
    usd_per_win: what a certain win was taken to be worth, None: cost did not count below the
    budget. max_output_tokens, worst_case_cost_usd: hard mode's cap, and the cost at it.
    draw: in [0, 1), what the model was drawn from the mix by. lane: closed_form or the solver's
    name, with what went wrong there in lane_note.
    """

    request: RoutingRequest
    model: str
    card: ModelCard
    mix: Mapping[str, float]
    objective: Objective
    value: float
    mix_value: float
    win_rate: float
    mix_win_rate: float
    expected_cost_usd: Decimal | None
    mix_expected_cost_usd: Decimal | None
    shadow_price: float
    usd_per_win: Decimal | None
    budget_usd: Decimal | None
    budget_mode: BudgetMode
    max_output_tokens: int | None
    worst_case_cost_usd: Decimal | None
    draw: float
    lane: str = "closed_form"
    lane_note: str | None = None
    # made when somebody looks: most decisions are only acted on
    tabulate: Callable[[], tuple[Alternative, ...]] = field(repr=False, compare=False)
    solve_coefficient: Callable[[], float] = field(repr=False, compare=False)

    @cached_property
    def alternatives(self) -> tuple[Alternative, ...]:
        """All models of the catalogue, best first; those without a value last."""
        return self.tabulate()

    @cached_property
    def coefficient(self) -> float:
        """The router's own Bradley-Terry coefficient (Algorithm 1); a single model's is its own."""
        return self.solve_coefficient()

    @cached_property
    def explanation(self) -> str:
        """The decision in words."""
        return explain(self)
