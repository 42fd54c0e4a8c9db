"""The reasons why a request cannot be routed. Each leaf calls for a different remedy by the caller.

RouterError
├── BudgetInfeasibleError   the budget is below the cost of the cheapest model that could answer
│   └── CeilingInfeasibleError  the most that the caller may spend on a request is below it
├── WindowExhaustedError    the rest of a window's budget is below every worst case
├── ConstraintsInfeasibleError  no mix of models keeps all rows of routing.constraints
├── SolverFailedError       the slow lane gave no answer in time (the closed form takes over)
├── NoEligibleModelError    no model can do what the request needs
│   └── ContextFullError    the conversation is too long for every model that could answer
└── InvalidRoutingError     the question itself is invalid (for example, unknown opponents)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple


class RouterError(Exception):
    """Base class of all errors of the router."""


class BudgetInfeasibleError(RouterError):
    """The budget is below the cost of every eligible model."""

    def __init__(
        self, cheapest_model: str, cheapest_cost_usd: Decimal, budget_usd: Decimal, kind: str
    ) -> None:
        super().__init__(
            f"A budget of {budget_usd:f} USD is too small: the cheapest eligible model, "
            f"{cheapest_model}, has {kind} of {cheapest_cost_usd:f} USD for this request. "
            "Raise the budget, shorten the request or lower its output limit."
        )
        self.cheapest_model = cheapest_model
        self.cheapest_cost_usd = cheapest_cost_usd
        self.budget_usd = budget_usd


class CeilingInfeasibleError(BudgetInfeasibleError):
    """The ceiling is below the worst case of every eligible model, so that no budget would help."""

    def __init__(
        self, cheapest_model: str, cheapest_cost_usd: Decimal, ceiling_usd: Decimal
    ) -> None:
        super().__init__(cheapest_model, cheapest_cost_usd, ceiling_usd, "a worst-case cost")
        self.args = (
            f"A request of this key may cost at most {ceiling_usd:f} USD (max_request_usd): the "
            f"cheapest eligible model, {cheapest_model}, could cost {cheapest_cost_usd:f} USD for "
            "this one. Shorten the request or lower its output limit.",
        )


class WindowExhaustedError(RouterError):
    """A window's money is spent or reserved; waiting helps, or a lower output cap."""

    def __init__(self, least_usd: Decimal, available_usd: Decimal) -> None:
        super().__init__(
            f"{available_usd:f} USD are left of the window's budget, and this request can cost "
            f"{least_usd:f} USD or more. Wait, or lower its output limit."
        )
        self.least_usd = least_usd
        self.available_usd = available_usd


class UnkeptRow(NamedTuple):
    """A constraint that cannot be kept, in the units of the configuration.

    possible: the value nearest to the limit that the models allow while the other constraints are
    kept. is_floor: the limit is a minimum, not a maximum.
    """

    name: str
    limit: float
    possible: float
    is_floor: bool

    @property
    def is_broken(self) -> bool:
        """Whether even the best possible value violates the limit."""
        return self.possible < self.limit if self.is_floor else self.possible > self.limit

    def __str__(self) -> str:
        least, most = ("at least", "at most") if self.is_floor else ("at most", "at least")
        return f"{self.name} is {least} {self.limit:.6g}, {most} {self.possible:.6g} is possible"


class ConstraintsInfeasibleError(RouterError):
    """No mix keeps all constraints. rows: those that cannot be kept, and by how much."""

    def __init__(self, rows: Sequence[UnkeptRow]) -> None:
        told = "; ".join(str(row) for row in rows) or "they contradict each other"
        super().__init__(f"No mix of the eligible models keeps all constraints: {told}.")
        self.rows = tuple(rows)


class SolverFailedError(RouterError):
    """The solver gave it did not answer in time, or none that can be trusted. The message is its "
    "status."""


class NoEligibleModelError(RouterError):
    """No model can serve the request. reasons: catalogue name -> why that model is out."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"No model can serve this request. {told or 'The catalogue is empty'}.")
        self.reasons = dict(reasons)


class ContextFullError(NoEligibleModelError):
    """The conversation is too long for every model that could answer.

    needed: the tokens of the conversation and the shortest answer. window: the largest context
    window of these models, in tokens.
    """

    def __init__(self, reasons: Mapping[str, str], needed: int, window: int) -> None:
        super().__init__(reasons)
        self.needed = needed
        self.window = window


class InvalidRoutingError(RouterError):
    """The routing question cannot be answered as asked. rule: the name of the rule that asks for
    it."""

    def __init__(self, message: str, rule: str | None = None) -> None:
        super().__init__(message)
        self.rule = rule
