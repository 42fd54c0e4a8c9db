"""What is asked of the router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from decimal import Decimal
from enum import StrEnum

from router.constraints import Constraints
from router.cost import RequestShape
from router.objective import Objective
from router.record import record


class BudgetMode(StrEnum):
    """expected: the mean cost of the draw is within the budget (Theorem 1).
    hard: this one request cannot cost more."""

    EXPECTED = "expected"
    HARD = "hard"


@record(frozen=True, slots=True, kw_only=True)
class RoutingRequest:
    """What is asked of the router.

    budget_usd: None for no budget. allowed: catalogue names, None for all. opponents:
    leaderboard name -> weight, None for all alike. excluded: catalogue name -> why not now.
    usd_per_win: what a certain win is worth, above 0; None: cost counts for nothing below the
    budget (router.pacing.combined_usd_per_win joins it with the windows' prices).
    ceiling_usd: what this request may cost at most, in either mode; None for no ceiling beside the
    budget. in_window: a window's money pays for it, so that its price must be known.
    available_usd: what is left of the tightest window; no model whose worst case is over it, at
    the caller's cap or, without one, at the smallest that may be set. constraints: rows beyond
    the budget, None for none.
    input_tokens, cached_tokens: catalogue name -> the input by its own tokenizer (default: the
    shape's), and how much of it its provider is expected to have cached (default: none).
    thought_tokens: catalogue name -> tokens of thoughts beside the predicted answer (default:
    none). length_factors: catalogue name -> what both are multiplied by (default: 1).
    kept: the model that answers in place of the one drawn, where it may answer at all: it made the
    calls of tools whose results the request brings. kept_limit_usd: what it may be expected to cost
    then, None for what the rest allows. order: in which models share the draw's range
    from 0 to 1, those that are not named after the others; empty: as the mix names them.
    """

    shape: RequestShape
    budget_usd: Decimal | None = None
    budget_mode: BudgetMode = BudgetMode.EXPECTED
    allowed: tuple[str, ...] | None = None
    opponents: Mapping[str, float] | None = None
    excluded: Mapping[str, str] = field(default_factory=dict)
    usd_per_win: Decimal | None = None
    objective: Objective = Objective.WIN_RATE
    ceiling_usd: Decimal | None = None
    in_window: bool = False
    available_usd: Decimal | None = None
    constraints: Constraints | None = None
    input_tokens: Mapping[str, int] = field(default_factory=dict)
    cached_tokens: Mapping[str, int] = field(default_factory=dict)
    thought_tokens: Mapping[str, float] = field(default_factory=dict)
    length_factors: Mapping[str, float] = field(default_factory=dict)
    kept: str | None = None
    kept_limit_usd: Decimal | None = None
    order: tuple[str, ...] = ()

    @property
    def most_usd(self) -> Decimal | None:
        """What this request may cost at most: the smaller of a hard budget and the ceiling; None
        where there is neither."""
        hard = self.budget_usd if self.budget_mode is BudgetMode.HARD else None
        if hard is None or self.ceiling_usd is None:
            return self.ceiling_usd if hard is None else hard
        return min(hard, self.ceiling_usd)
