"""The question that the router answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from router.constraints import Constraints
from router.cost import RequestShape
from router.objective import Objective
from router.record import record

_NANO: Final = Decimal("1E-9")


class BudgetMode(StrEnum):
    """expected: the expected cost of the draw stays within the budget (Theorem 1). hard: the cost
    of this one request cannot exceed it."""

    EXPECTED = "expected"
    HARD = "hard"


@record(frozen=True, slots=True, kw_only=True)
class RoutingRequest:
    """The question that the router answers about one prompt. Amounts are in USD.

    budget_usd: None for no budget. draw_budget_usd: the budget of the mix where an account is
    overdrawn, at most budget_usd (router.account); None: budget_usd itself. A model that budget_usd
    allows stays eligible, and where draw_budget_usd is too small for any of them, the cheapest is
    taken. allowed: catalogue names, None for all. opponents: leaderboard
    name -> weight, None for all models alike. excluded: catalogue name -> why the model may not be
    used now. usd_per_win: what a certain win is worth, above 0; None: cost does not count below the
    budget (router.pacing.combined_usd_per_win joins it with the windows' prices).

    ceiling_usd: the most that this request may cost, in either mode; None for no ceiling besides
    the budget. in_window: a window pays for the request, so that its price must be known.
    available_usd: what is left of the tightest window; a model whose worst case is above it is out,
    at the caller's cap or, without one, at the smallest cap that may be set. constraints: further
    rows besides the budget, None for none.

    input_tokens: catalogue name -> the input counted with that model's tokenizer (default: the
    shape's count). cached_tokens: the part of it expected to be in the provider's cache (default:
    none). thought_tokens: thinking on top of the predicted answer (default: none). length_factors:
    multiply the sum of both (default: 1). caching: for how many seconds the model's provider will
    keep this request's input in its cache (default: not at all).

    coefficient_shifts: catalogue name -> what is added to the coefficient of the card's
    leaderboard_name, in place of the card's coefficient_shift, and the standard deviation of the
    sum. Values are then means over that Gaussian (router.leaderboard_values). value_shifts: the
    same for the values of the objective, where these have a level that win rates do not have;
    default: coefficient_shifts.

    further_requests: how many later requests of the same job are expected, over which the price of
    a change of model is spread (router.change). held: the model that gave the job's last answer.
    min_gain: what another model must gain over it where cost does not choose, in units of the
    objective.

    kept: the model that answers instead of the drawn one, if it is eligible; it made the tool calls
    whose results the request brings. kept_limit_usd: the highest expected cost at which it is kept,
    None for no further limit. order: the order in which models share the draw's range from 0 to 1,
    models not named come last; empty: the order of the mix.
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
    draw_budget_usd: Decimal | None = None
    caching: Mapping[str, int] = field(default_factory=dict)
    further_requests: float = 0.0
    held: str | None = None
    min_gain: float = 0.0
    coefficient_shifts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    value_shifts: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def has_later(self) -> bool:
        """Whether later requests of the job are expected that find something in a cache."""
        return self.further_requests > 0.0 and len(self.caching) > 0

    @property
    def first_share(self) -> Decimal | None:
        """The share of this request among those that are expected, to a billionth; None where no
        later one counts."""
        if not self.has_later:
            return None
        return Decimal(round(1e9 / (1.0 + self.further_requests))) * _NANO

    @property
    def most_usd(self) -> Decimal | None:
        """The most that this request may cost: the smaller of a hard budget and the ceiling; None
        where there is neither."""
        hard = self.budget_usd if self.budget_mode is BudgetMode.HARD else None
        if hard is None or self.ceiling_usd is None:
            return self.ceiling_usd if hard is None else hard
        return min(hard, self.ceiling_usd)
