"""Computes what a failed attempt leaves of the amount that its request may cost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from router.choice import BudgetMode, Decision, RoutingRequest
from server.ledger.attempt import CostSource
from server.ledger.entry import Entry


def after_failure(request: RoutingRequest, decision: Decision, entry: Entry) -> RoutingRequest:
    """The options for the next attempt. entry: the settled entry of the attempt that failed.

    An attempt that the provider does not bill leaves the whole budget; a reported cost is
    subtracted. An attempt that may be billed although its cost is unknown (it timed out after it
    was sent, or it had begun to answer) is counted at its worst case, or in `expected` mode at its
    expected cost.
    """
    if entry.row.cost_source is CostSource.NONE:
        return request
    return after(request, decision, entry.reported_cost_usd)


def after(
    request: RoutingRequest, decision: Decision, cost_usd: Decimal | None = None
) -> RoutingRequest:
    """The options that are left. cost_usd: the cost of the attempt; None where it may be billed but
    the amount is unknown."""
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
