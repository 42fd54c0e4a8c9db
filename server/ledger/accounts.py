"""The gateway's one way to money: an entry for each attempt, reserved before it is sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from router.cost import worst_case_cost_usd
from router.decide import Decision
from server.errors import OverloadedError
from server.ledger.attempt import Attempt, pico
from server.ledger.billing import Known, UnknownCost
from server.ledger.entry import Entry
from server.plan import Plan
from server.storage.errors import StorageRefusedError

# The output of a model whose limits nobody knows, in tokens.
_NO_LIMIT = 1 << 20


class Ledger(Protocol):
    """Keeps attempts. A row is written when it is opened and again when it is settled."""

    async def open(self, row: Attempt) -> None:
        """Returns once the row would survive the death of the process.

        Raises StorageRefusedError where it would not.
        """

    def settle(self, row: Attempt) -> None:
        """Does not wait."""


class NoLedger:
    """Keeps nothing: for the command line's dry runs."""

    async def open(self, row: Attempt) -> None:
        """See Ledger."""

    def settle(self, row: Attempt) -> None:
        """See Ledger."""


class Accounts:
    """Opens entries and takes them back settled."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        policy: UnknownCost = UnknownCost.EXPECTED,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._policy = policy
        self._clock = clock

    async def reserve(self, plan: Plan, decision: Decision, attempt: int) -> Entry:
        """An open entry for the attempt, counted from 1. Nothing may be sent without one."""
        reserved = _worst_case_usd(plan, decision)
        row = self._row(plan, decision, attempt, reserved)
        try:
            await self._ledger.open(row)
        except StorageRefusedError:
            raise OverloadedError("Spend cannot be recorded just now.") from None
        known = Known(
            card=decision.card,
            shape=plan.routing.shape,
            expected_usd=decision.expected_cost_usd,
            reserved_usd=reserved,
        )
        return Entry(row, known, output_cap=None, policy=self._policy, to=self, clock=self._clock)

    def settled(self, entry: Entry) -> None:
        """See Settlement."""
        self._ledger.settle(entry.row)

    def _row(
        self, plan: Plan, decision: Decision, attempt: int, reserved: Decimal | None
    ) -> Attempt:
        card, budget = decision.card, decision.budget_usd
        expected = decision.expected_cost_usd
        return Attempt(
            request_id=plan.request_id,
            attempt=attempt,
            key_name=plan.caller.name,
            model=card.name,
            provider=card.provider,
            upstream_model=card.upstream_model,
            routed=plan.routed,
            streamed=plan.streamed,
            started_at=self._clock(),
            reserved_pico=0 if reserved is None else pico(reserved),
            expected_pico=None if expected is None else pico(expected),
            budget_pico=None if budget is None else pico(budget),
            budget_mode=None if budget is None else decision.budget_mode.value,
        )


def _worst_case_usd(plan: Plan, decision: Decision) -> Decimal | None:
    """None where the price is unknown."""
    card, shape = decision.card, plan.routing.shape
    caps = (decision.max_output_tokens, shape.max_output_tokens, card.max_output_tokens)
    cap = min((c for c in caps if c is not None), default=card.context_window or _NO_LIMIT)
    return worst_case_cost_usd(card, shape, cap)
