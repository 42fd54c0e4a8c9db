"""Why a request cannot be routed. Each leaf is something the caller would mend differently.

RouterError
├── BudgetInfeasibleError   the budget is below the cheapest model that could answer
├── WindowExhaustedError    what is left of a window's budget is below every worst case
├── NoEligibleModelError    no model can do what the request needs
└── InvalidRoutingError     the question itself makes no sense (opponents, say)
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal


class RouterError(Exception):
    """Base of all errors of the router."""


class BudgetInfeasibleError(RouterError):
    """budget_usd is below the cost of every eligible model."""

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


class WindowExhaustedError(RouterError):
    """The money of a window is spent or reserved: time will mend it, or a lower output cap."""

    def __init__(self, least_usd: Decimal, available_usd: Decimal) -> None:
        super().__init__(
            f"{available_usd:f} USD are left of the window's budget, and this request can cost "
            f"{least_usd:f} USD or more. Wait, or lower its output limit."
        )
        self.least_usd = least_usd
        self.available_usd = available_usd


class NoEligibleModelError(RouterError):
    """reasons: model -> why it is out."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"No model can serve this request. {told or 'The catalogue is empty'}.")
        self.reasons = dict(reasons)


class InvalidRoutingError(RouterError):
    """The routing question cannot be answered as asked."""
