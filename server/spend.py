"""What is left of a request's budget after an attempt that failed."""

from __future__ import annotations

from decimal import Decimal

from router.decide import Decision
from server.upstream.errors import Stage, UpstreamError, UpstreamTimeoutError


def left_of_budget(
    decision: Decision, error: UpstreamError, budget_usd: Decimal | None
) -> Decimal | None:
    """The budget of the next attempt, in USD; None where there is no budget.

    An attempt that timed out once it was sent may be billed although nobody read the answer: its
    worst case (in hard mode) or its expected cost is taken as spent. Every other failure is
    unbilled.
    """
    unbilled = not isinstance(error, UpstreamTimeoutError) or error.stage is not Stage.SENT
    return budget_usd if unbilled else left_after(decision, budget_usd)


def left_after(decision: Decision, budget_usd: Decimal | None) -> Decimal | None:
    """What an attempt leaves of the budget that may be billed without our knowing how much."""
    if budget_usd is None:
        return None
    spent = decision.worst_case_cost_usd
    if spent is None:
        spent = decision.expected_cost_usd or Decimal(0)
    return max(Decimal(0), budget_usd - spent)
