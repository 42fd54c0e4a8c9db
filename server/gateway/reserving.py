"""Reserves the money of an attempt: for the chosen model, or else for one that fits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import anyio

from p2l_model.types import PromptLeaderboard
from router.choice import Decision
from router.errors import WindowExhaustedError
from router.receipt import Attempt
from server.accounts.accounts import Accounts, WindowShortError
from server.errors import ApiError, OverloadedError, SessionSpentError
from server.gateway.columns import same_models
from server.gateway.routed_request import Exchange, attempt_of
from server.ledger.entry import Entry
from server.ledger.window import Balance, WindowSpec, from_nano, limit_nano
from server.storage.errors import StorageError

# How often a reservation is tried for one attempt: other requests may take the money in between.
_RESERVATIONS: Final = 4
# How long a request waits for money that other requests of its session have reserved, and the pause
# between checks.
_WAIT_S: Final = 5.0
_LOOK_S: Final = (0.02, 0.05, 0.1, 0.2)

Decide = Callable[..., Decision]


class _NothingFitsError(Exception):
    """No model's reservation fits what is left."""

    def __init__(self, short: WindowShortError) -> None:
        super().__init__(short)
        self.short = short


class Reserving:
    """Reserves for one attempt of an exchange, whose decision it may replace."""

    def __init__(
        self,
        accounts: Accounts,
        decide: Decide,
        exchange: Exchange,
        leaderboard: PromptLeaderboard,
    ) -> None:
        self._accounts = accounts
        self._decide = decide
        self._exchange = exchange
        self._leaderboard = leaderboard
        self._rng_state: tuple[Any, ...] | None = None

    async def reserve(self) -> Entry:
        """Reserves; returns the open entry. Raises BudgetExhaustedError, or the failure of an
        earlier attempt."""
        exchange = self._exchange
        exchange.attempts += 1
        exchange.reservations += 1
        asked = exchange.plan, exchange.decision, list(exchange.history)
        until_s, n_looks = None, 0
        while True:
            try:
                return await self._tried()
            except _NothingFitsError as nothing:
                short = nothing.short
            if short.spec.session is None or exchange.failures:
                raise exchange.exhausted(short)
            await self._check_worth_waiting(short)
            until_s = time.monotonic() + _WAIT_S if until_s is None else until_s
            if time.monotonic() >= until_s:
                raise await self._spent(short, is_soon=True)
            await anyio.sleep(_LOOK_S[min(n_looks, len(_LOOK_S) - 1)])
            n_looks += 1
            exchange.plan, exchange.decision, exchange.history = *asked[:2], list(asked[2])
            if self._rng_state is not None:
                # A receipt is replayed by its seed.
                exchange.rng.setstate(self._rng_state)

    async def rehearse(self) -> None:
        """Decides as `reserve` would, but holds nothing and does not wait for other requests.
        Raises SessionSpentError, OverloadedError."""
        exchange = self._exchange
        asked = exchange.decision, list(exchange.history)
        for _ in range(_RESERVATIONS):
            try:
                cap = await self._accounts.rehearse(exchange.plan, exchange.decision)
            except WindowShortError as short:
                try:
                    self._decide_within(short)
                except _NothingFitsError:
                    await self._refuse_or_wait(short, *asked)
                    return
            else:
                if cap is not None:
                    exchange.decision = replace(exchange.decision, max_output_tokens=cap)
                return

    async def _refuse_or_wait(
        self, short: WindowShortError, decision: Decision, history: list[Attempt]
    ) -> None:
        """Raises SessionSpentError where the session's money is gone. Otherwise the first decision
        is that of a request that waits."""
        if short.spec.session is not None:
            plan = self._exchange.plan
            await self._check_worth_waiting(short)
            self._exchange.plan = plan
        self._exchange.decision, self._exchange.history = decision, history

    async def _tried(self) -> Entry:
        exchange = self._exchange
        for _ in range(_RESERVATIONS):
            try:
                return await self._accounts.reserve(
                    exchange.plan, exchange.decision, exchange.reservations
                )
            except WindowShortError as short:
                last = short
                if self._rng_state is None and short.spec.session is not None:
                    self._rng_state = self._exchange.rng.getstate()
                self._decide_within(short)
        raise _NothingFitsError(last)

    def _decide_within(self, short: WindowShortError) -> None:
        """Decides again within what is left. Raises _NothingFitsError."""
        exchange = self._exchange
        try:
            again = self._decided(short.available_usd, exchange.rng)
        except ApiError as error:
            if isinstance(error.__cause__, WindowExhaustedError):
                short.name_cheapest(error.__cause__.least_usd)
            raise _NothingFitsError(short) from error
        exchange.history[-1] = exchange.history[-1]._replace(failure="window_short")
        exchange.history.append(attempt_of(exchange.plan, again))
        exchange.decision = replace(again, budget_usd=exchange.decision.budget_usd)

    def _decided(self, available_usd: Decimal, rng: random.Random) -> Decision:
        """A decision within what is available. Raises ApiError where no model fits."""
        exchange = self._exchange
        routing = replace(exchange.plan.routing, available_usd=available_usd)
        exchange.plan = replace(exchange.plan, routing=routing)
        failed = same_models(exchange.plan.catalogue, exchange.failures)
        out = dict.fromkeys(failed, "it failed for this request")
        return self._decide(exchange.plan, self._leaderboard, rng, out)

    async def _check_worth_waiting(self, short: WindowShortError) -> None:
        """Raises BudgetExhaustedError where even the released reservations would not suffice."""
        balance = await self._balance(short.spec)
        left_usd = max(Decimal(0), from_nano(short.spec.amount_nano - balance.spent))
        try:
            self._decided(left_usd, random.Random(0))
        except ApiError:
            raise await self._spent(short, balance) from None

    async def _balance(self, spec: WindowSpec) -> Balance:
        try:
            return await self._accounts.session_balance(spec)
        except StorageError:
            raise OverloadedError("Spend cannot be counted just now.") from None

    async def _spent(
        self, short: WindowShortError, balance: Balance | None = None, *, is_soon: bool = False
    ) -> SessionSpentError:
        balance = await self._balance(short.spec) if balance is None else balance
        ceiling_usd = self._exchange.plan.caller.limits.session_budget_usd
        return SessionSpentError(
            from_nano(balance.spent),
            short.spec.amount_usd,
            short.cost,
            is_soon=is_soon,
            is_of_key=ceiling_usd is not None and limit_nano(ceiling_usd) <= short.spec.amount_nano,
        )
