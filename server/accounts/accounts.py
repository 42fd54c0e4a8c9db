"""The accounts: every attempt gets an entry, whose cost is reserved before it is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Final, Protocol

from router.choice import Decision
from router.cost import (
    WorstCase,
    largest_output_cap,
    least_hard_cap,
    unbounded_cap,
    worst_case,
)
from server.accounts.budgets import Budgets
from server.accounts.pacer import Pacer
from server.accounts.purses import Purses
from server.accounts.rates import Limiter, MemoryRates
from server.accounts.windows import Watch, Windows, unwatched
from server.auth.authenticator import Caller
from server.config.settings.unknown_cost import UnknownCost
from server.errors import OverloadedError
from server.ledger.attempt import Attempt, pico, usd
from server.ledger.billing import Known
from server.ledger.entry import Entry
from server.ledger.order import Order
from server.ledger.purse import Purse
from server.ledger.window import (
    SOON_S,
    Balance,
    Short,
    Wanted,
    WindowSpec,
    from_nano,
    to_nano,
)
from server.process.closing import Closing
from server.storage.errors import StorageError
from server.storage.recovery import Lost
from server.upstream.errors import Progress

# The amount that an answer without a cap may reserve before the windows are shared: this many times
# its expected cost, and room for this many tokens, if there is enough money.
_COMFORT: Final = 4
_COMFORT_TOKENS: Final = 1024
_UNPAYABLE: Final = 2**62

# What the windows have granted: the windows, the amount in USD, and whether it is the worst case,
# so that no cap need be sent.
_Held = tuple[Sequence[WindowSpec], Decimal, bool]


class Ledger(Protocol):
    """Stores attempts. A row is written when it is opened and again when it is settled."""

    async def open(self, row: Attempt) -> None:
        """Stores an open attempt; returns once the row would survive the death of the process.

        Raises StorageRefusedError where it would not. If it raises or is cancelled, the row is
        settled as an attempt that was never sent.
        """

    def settle(self, row: Attempt) -> None:
        """Stores a settled attempt. Does not wait."""


class NoLedger:
    """Stores nothing: for the command line's dry runs."""

    async def open(self, row: Attempt) -> None:
        """Does nothing."""

    def settle(self, row: Attempt) -> None:
        """Does nothing."""


class WindowShortError(Exception):
    """The attempt does not fit what is left of a window. cost: its possible cost, in words; it may
    be lowered to that of a cheaper model."""

    def __init__(self, short: Short, wanted: Wanted) -> None:
        super().__init__(short)
        self.available_usd = max(Decimal(0), from_nano(short.available))
        self.retry_after_s = short.retry_after_s
        self.spec = short.spec
        self._least_usd = from_nano(wanted.least)
        least = f"{self._least_usd:f} USD"
        self.cost = f"up to {least}" if wanted.least == wanted.most else f"{least} or more"

    def name_cheapest(self, least_usd: Decimal) -> None:
        """Names in `cost` what the cheapest model can cost at least, where another one was chosen
        first."""
        if least_usd < self._least_usd:
            self._least_usd = least_usd
            self.cost = f"{least_usd:f} USD or more"


class Accounts:
    """Opens entries, and books them when they are settled.

    budgets, policy: may be replaced; requests from then on use the new ones. purses: the money of
    sessions.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        budgets: Budgets | None = None,
        windows: Windows | None = None,
        pacer: Pacer | None = None,
        limiter: Limiter | None = None,
        purses: Purses | None = None,
        on_settled: Callable[[Attempt], None] | None = None,
        policy: UnknownCost = UnknownCost.EXPECTED,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self.budgets = budgets
        self._windows = windows
        self._pacer = pacer
        self.purses = purses
        self.watch: Watch = unwatched
        self._on_settled = on_settled
        self.limiter = limiter or Limiter(MemoryRates())
        self.policy = policy
        self._clock = clock

    def usd_per_win(self, caller: Caller, configured: Decimal | None) -> Decimal | None:
        """What a certain win is worth to the caller in USD, with the shadow price of the windows in
        it."""
        if self._pacer is None:
            return configured
        return self._pacer.usd_per_win(self._specs(caller), configured)

    async def purse(
        self, caller: Caller, name: str | None, seed: int | None, given_usd: Decimal | None
    ) -> Purse | None:
        """The money of a request's session; see Purses.of."""
        return None if self.purses is None else await self.purses.of(caller, name, seed, given_usd)

    async def reserve(self, order: Order, decision: Decision, attempt: int) -> Entry:
        """Opens an entry for an attempt, counted from 1. Nothing may be sent without one.

        Raises WindowShortError, OverloadedError.
        """
        specs, purse = self._specs(order.caller), order.purse
        if purse is not None and purse.spec is not None:
            # Last: there must be no await between reading it and reserving its money.
            specs = (*specs, purse.spec)
            if self.purses is not None:
                self.purses.opened(purse)
        worst = worst_case(decision.card, order.routing.shape)
        hold = f"{order.request_id}:{attempt}"
        try:
            held = await self._held(hold, specs, _wanted(order, decision, worst)) if specs else None
            try:
                return await self._opened(order, decision, attempt, worst, held)
            except BaseException:
                self._release(hold, specs)
                raise
        except StorageError:
            raise OverloadedError("Spend cannot be recorded just now.") from None

    async def rehearse(self, order: Order, decision: Decision) -> int | None:
        """Returns the output cap with which `reserve` would have an attempt sent now, None without
        one. Holds nothing.

        Raises WindowShortError, OverloadedError.
        """
        specs, purse = self._specs(order.caller), order.purse
        if purse is not None and purse.spec is not None:
            specs = (*specs, purse.spec)
        if not specs:
            return None
        short = await self._tightest(specs)
        wanted = _wanted(order, decision, worst_case(decision.card, order.routing.shape))
        granted = wanted.granted(short.available)
        if granted is None:
            raise WindowShortError(short, wanted)
        if granted >= wanted.most:
            return None
        return largest_output_cap(decision.card, order.routing.shape, from_nano(granted))

    async def _tightest(self, specs: Sequence[WindowSpec]) -> Short:
        """The window with the least left. Raises OverloadedError."""
        if self._windows is None:
            raise OverloadedError("Window budgets cannot be checked just now.")
        left = []
        try:
            for spec in specs:
                balance = await self._windows.balance(spec)
                available = spec.amount_nano - balance.spent - balance.reserved
                left.append(Short(spec, available, SOON_S))
        except StorageError:
            raise OverloadedError("Spend cannot be counted just now.") from None
        return min(left, key=attrgetter("available"))

    def settled(self, entry: Entry) -> None:
        """Called once for each entry."""
        row = entry.row
        self._ledger.settle(row)
        if self._on_settled is not None:
            self._on_settled(row)
        if row.usage is not None and entry.caller is not None:
            n_tokens = row.usage.prompt_tokens + row.usage.completion_tokens
            self.limiter.used(entry.caller, n_tokens)
        if self._windows is not None and entry.specs:
            cost = 0 if entry.cost_usd is None else to_nano(entry.cost_usd)
            hold = f"{row.request_id}:{row.attempt}"
            self._windows.settle(hold, entry.specs, cost)
            for spec in entry.specs:
                self.watch(spec, hold, None)
        if self.budgets is not None and self.budgets.have_changed:
            self._book_elsewhere(entry)
        if row.session is not None and not entry.in_session:
            self._book_in_session(entry, row.session)

    def _book_in_session(self, entry: Entry, session: str) -> None:
        """Books an entry in a session that was given a budget after the entry was opened."""
        if self._windows is None or self.purses is None or not self.purses.has_budget(session):
            return
        if entry.cost_usd is not None and entry.cost_usd > 0:
            name, key = f"{entry.row.request_id}:{entry.row.attempt}", entry.row.key_name
            spec = WindowSpec(key, 0, None, session)
            self._windows.book(name, [spec], to_nano(entry.cost_usd))

    def _book_elsewhere(self, entry: Entry) -> None:
        """Books an entry in windows that were configured only before it was opened, or only
        since."""
        if self._windows is None or self.budgets is None or entry.caller is None:
            return
        others = self.budgets.others(entry.caller, entry.specs)
        if others and entry.cost_usd is not None and entry.cost_usd > 0:
            name = f"{entry.row.request_id}:{entry.row.attempt}"
            self._windows.book(name, others, to_nano(entry.cost_usd))

    def release_lost(self, lost: Sequence[Lost], callers: Mapping[str, Caller]) -> None:
        """Replaces the reservations of processes that died by their assumed costs.

        callers: by the names of their keys.
        """
        if self._windows is None:
            return
        for attempt in lost:
            specs = self._specs(callers.get(attempt.key_name) or Caller(attempt.key_name))
            cost = to_nano(usd(attempt.cost_pico))
            hold = f"{attempt.request_id}:{attempt.attempt}"
            self._windows.settle_lost(hold, specs, cost)
            if attempt.session is not None:
                most = to_nano(usd(max(attempt.cost_pico, attempt.reserved_pico)))
                spec = WindowSpec(attempt.key_name, 0, None, attempt.session)
                self._windows.settle_lost(hold, [spec], most)

    async def balances(self, caller: Caller) -> list[tuple[WindowSpec, Balance]]:
        """Every window in which the caller's spend counts, with its spent and reserved amounts.
        Raises StorageError."""
        if self._windows is None:
            return []
        return [(spec, await self._windows.balance(spec)) for spec in self._specs(caller)]

    async def settled_in(self, spec: WindowSpec, hold: str) -> int:
        """The nanodollars settled in a window, with what was settled under the name of the hold.
        Raises StorageError."""
        if self._windows is None:
            return 0
        await self._windows.booked(hold, spec)
        return (await self._windows.balance(spec)).spent

    async def session_balance(self, spec: WindowSpec, entry: Entry | None = None) -> Balance:
        """The spent and the reserved amount of a session. entry: an entry whose cost, if it is
        settled, must be included. Raises StorageError."""
        if self._windows is None:
            return Balance(0, 0)
        if entry is not None and not entry.is_open:
            await self._windows.booked(f"{entry.row.request_id}:{entry.row.attempt}", spec)
        return await self._windows.balance(spec)

    def global_windows(self) -> Iterator[tuple[str, float, float]]:
        """Yields (name, amount, spent) in USD for the windows that all keys share."""
        if self._windows is None or self.budgets is None:
            return
        for spec in self.budgets.shared:
            yield spec.name, spec.amount_nano / 1e9, self._windows.spent(spec) / 1e9

    async def close(self) -> None:
        """Finishes the work in progress."""
        async with Closing() as closing:
            if self._windows is not None:
                closing.at_the_end("windows", self._windows.close)
            closing.at_the_end("rates", self.limiter.close)

    def _specs(self, caller: Caller) -> tuple[WindowSpec, ...]:
        return () if self.budgets is None else self.budgets.of(caller)

    async def _held(self, hold: str, specs: Sequence[WindowSpec], wanted: Wanted) -> _Held:
        """Reserves in all windows. Raises WindowShortError, OverloadedError."""
        if self._windows is None:
            raise OverloadedError("Window budgets cannot be checked just now.")
        granted = await self._windows.reserve(hold, specs, wanted)
        if isinstance(granted, Short):
            self.watch(granted.spec, hold, wanted.least)
            raise WindowShortError(granted, wanted)
        return specs, from_nano(granted), granted >= wanted.most

    async def _opened(
        self,
        order: Order,
        decision: Decision,
        attempt: int,
        worst: WorstCase | None,
        held: _Held | None,
    ) -> Entry:
        """Opens an entry in the ledger. Raises StorageError."""
        shape, cap = order.routing.shape, None
        specs: Sequence[WindowSpec] = ()
        if held is None:
            reserved = None if worst is None else worst.at(_cap(order, decision))
        else:
            specs, reserved, is_all = held
            cap = None if is_all else largest_output_cap(decision.card, shape, reserved)
        row = self._row(order, decision, attempt, reserved)
        await self._ledger.open(row)
        entry = Entry(
            row,
            Known(
                card=decision.card,
                shape=shape,
                expected_usd=decision.expected_cost_usd,
                reserved_usd=reserved,
            ),
            caller=order.caller,
            specs=specs,
            output_cap=cap,
            policy=self.policy,
            to=self,
        )
        entry.progress = Progress()  # nothing has been sent yet
        return entry

    def _release(self, hold: str, specs: Sequence[WindowSpec]) -> None:
        if self._windows is not None and specs:
            self._windows.settle(hold, specs, 0)

    def _row(
        self, order: Order, decision: Decision, attempt: int, reserved: Decimal | None
    ) -> Attempt:
        card, budget = decision.card, decision.budget_usd
        expected, purse = decision.expected_cost_usd, order.purse
        given = None if purse is None else purse.given_usd
        return Attempt(
            request_id=order.request_id,
            attempt=attempt,
            key_name=order.caller.name,
            model=card.name,
            provider=card.provider,
            upstream_model=card.upstream_model,
            routed=order.routed,
            streamed=order.streamed,
            tags=order.tags,
            started_at=self._clock(),
            reserved_pico=0 if reserved is None else pico(reserved),
            expected_pico=None if expected is None else pico(expected),
            budget_pico=None if budget is None else pico(budget),
            budget_mode=None if budget is None else str(decision.budget_mode),
            session=None if purse is None else purse.session,
            session_budget_pico=None if given is None else pico(given),
        )


def _wanted(order: Order, decision: Decision, worst: WorstCase | None) -> Wanted:
    """The amount to reserve: the worst case, or less where the caller set no cap: then a cap is
    sent that fits the amount.

    A model of unknown price asks for more than there is, so that another one is chosen.
    """
    card, shape = decision.card, order.routing.shape
    if worst is None:
        return Wanted(_UNPAYABLE, _UNPAYABLE, _UNPAYABLE)
    most = to_nano(worst.at(_cap(order, decision)))
    if shape.max_output_tokens is not None:
        least = to_nano(worst.at(least_hard_cap(card, shape)))
        return Wanted(min(least, most), most, most)
    likely = _COMFORT * (decision.expected_cost_usd or Decimal(0))
    comfort = to_nano(max(likely, worst.at(_COMFORT_TOKENS)))
    least = to_nano(worst.at(least_hard_cap(card, shape)))
    return Wanted(min(least, most), min(comfort, most), most)


def _cap(order: Order, decision: Decision) -> int:
    """The output cap in tokens that is in force."""
    cap = decision.max_output_tokens
    return unbounded_cap(decision.card, order.routing.shape) if cap is None else cap
