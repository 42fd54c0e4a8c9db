"""What an attempt leaves of what its request may cost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from router.choice import BudgetMode, Decision, RoutingRequest
from server.ledger.attempt import CostSource
from server.ledger.entry import Entry


def after_failure(request: RoutingRequest, decision: Decision, entry: Entry) -> RoutingRequest:
    """What is asked for the next attempt. entry: of the one that failed, settled.

    What the provider does not bill leaves all; what it has reported is spent. An attempt that may
    be billed although nobody has read how much (it timed out once it was sent, or began to answer)
    is taken at its worst case, or in `expected` mode at its expected cost.
    """
    if entry.row.cost_source is CostSource.NONE:
        return request
    return after(request, decision, entry.reported_cost_usd)


def after(
    request: RoutingRequest, decision: Decision, cost_usd: Decimal | None = None
) -> RoutingRequest:
    """cost_usd: of the attempt; None where it may be billed without our knowing how much."""
    expected = most = cost_usd
    if expected is None or most is None:
        expected, worst = decision.expected_cost_usd or Decimal(0), decision.worst_case_cost_usd
        most = expected if worst is None else worst
    spent = most if request.budget_mode is BudgetMode.HARD else expected
    return replace(
        request,
        budget_usd=_less(request.budget_usd, spent),
        ceiling_usd=_less(request.ceiling_usd, most),
    )


def _less(amount_usd: Decimal | None, spent_usd: Decimal) -> Decimal | None:
    return None if amount_usd is None else max(Decimal(0), amount_usd - spent_usd)
