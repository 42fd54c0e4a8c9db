"""The money of a run: nothing is sent whose worst case does not fit what is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from server.offline.learn.journal import Want

# Two verdicts are bought for each answer. What is kept back for those that are to come is this many
# times their mean cost.
_ORDERS: Final = 2
_MARGIN: Final = Decimal("1.5")
# From so many verdicts on, their mean cost counts and no longer the estimate.
_FEW: Final = 4


class VerdictCosts:
    """What verdicts cost on average, by judge. expected_usd: before any is known."""

    def __init__(self, expected_usd: Mapping[str, Decimal]) -> None:
        self._expected_usd = expected_usd
        self._total_usd: dict[str, Decimal] = {}
        self._n: Counter[str] = Counter()

    def add(self, judge: str, cost_usd: Decimal) -> None:
        """Counts a verdict."""
        self._total_usd[judge] = self._total_usd.get(judge, Decimal(0)) + cost_usd
        self._n[judge] += 1

    def of(self, judges: Sequence[str]) -> Decimal:
        """What is to be kept back for the verdicts on answers, given the judge of each."""
        return sum((self._each(judge) * _ORDERS * _MARGIN for judge in judges), Decimal(0))

    def _each(self, judge: str) -> Decimal:
        if self._n[judge] < _FEW:
            return self._expected_usd.get(judge, Decimal(0))
        return self._total_usd[judge] / self._n[judge]


class OutOfMoneyError(Exception):
    """The next call could cost more than is left. left_usd: what it may cost."""

    def __init__(self, left_usd: Decimal) -> None:
        super().__init__(left_usd)
        self.left_usd = left_usd


class Money:
    """What is left of the money. spend_usd: for the whole run, with its earlier starts. spent: what
    the ledger has counted for it so far, in USD; verdicts: what they cost on average.

    The ledger reserves too, for each call and in one window of the run. This class only keeps the
    run from sending what the ledger would refuse, or would lower the output limit of.
    """

    def __init__(
        self,
        spend_usd: Decimal,
        spent: Callable[[], Awaitable[Decimal]],
        verdicts: VerdictCosts,
    ) -> None:
        self.spend_usd = spend_usd
        self.verdicts = verdicts
        self._spent = spent
        self._held: dict[Want, Decimal] = {}
        # The judges of answers that are being bought, or wait for their verdicts.
        self._ungraded: dict[Want, str] = {}
        self._changed = asyncio.Condition()

    async def left_usd(self) -> Decimal:
        """What is neither spent nor held."""
        spent = await self._spent()
        # no await from here on: what is held now is what counts
        return self.spend_usd - spent - sum(self._held.values(), Decimal(0))

    async def spent_usd(self) -> Decimal:
        """What the ledger has counted so far."""
        return await self._spent()

    async def hold(self, call: Want, most_usd: Decimal, judge: str | None = None) -> None:
        """Holds the worst case of a call; waits while other calls stand in the way, or verdicts
        that are to come. judge: who will grade the answer, so that its verdicts are kept back too.
        Raises OutOfMoneyError."""
        async with self._changed:
            while True:
                left_usd = await self.left_usd()
                if judge is not None:
                    left_usd -= self.verdicts.of([judge, *self._ungraded.values()])
                if left_usd >= most_usd:
                    break
                if not self._held and not (judge is not None and self._ungraded):
                    raise OutOfMoneyError(left_usd)
                await self._changed.wait()
            self._held[call] = most_usd
            if judge is not None:
                self._ungraded[call] = judge

    async def release(self, call: Want) -> None:
        """Ends a call: the ledger knows its cost by now."""
        async with self._changed:
            self._held.pop(call, None)
            self._changed.notify_all()

    async def graded(self, call: Want) -> None:
        """Ends the wait for the verdicts on an answer."""
        async with self._changed:
            self._ungraded.pop(call, None)
            self._changed.notify_all()
