"""Window budgets as the gateway uses them, and the store for one process."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from server.accounts.history import spent_slices
from server.accounts.pacer import Pacer
from server.ledger.window import Balance, Short, Wanted, Window, WindowSpec
from server.storage.rows import micros
from server.storage.store import Store

# Sessions whose money is counted in memory.
MOST_SESSIONS: Final = 50_000

# Told of a session, and of the nanodollars settled in it.
OnSession = Callable[[str, int], None]


class Windows(Protocol):
    """Where windows are counted. A hold is known by the name of its attempt. on_session: is told
    after each settlement in a session."""

    on_session: OnSession | None

    async def reserve(self, hold: str, specs: Sequence[WindowSpec], wanted: Wanted) -> int | Short:
        """Nanodollars reserved in every window, or why nothing was. Raises StorageError."""

    def settle(self, hold: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Gives the hold back and books its cost in nanodollars. Does not wait."""

    def book(self, name: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Books the cost of an attempt, in nanodollars, in windows that held nothing for it. One
        that is not counted yet is left out: its history will have it. Does not wait."""

    def spent(self, spec: WindowSpec) -> int:
        """Nanodollars settled in the window, as far as this process knows."""

    async def balance(self, spec: WindowSpec) -> Balance:
        """As all processes know it. Raises StorageError."""

    def settle_lost(self, hold: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """For an attempt of a process that died, where its reservation outlived it."""

    async def agreed(self, name: str, own: str) -> str:
        """One value for all gateways that share the windows: the first that one of them has
        brought. Raises StorageError."""

    async def booked(self, hold: str, spec: WindowSpec) -> None:
        """Waits, for a moment at most, until what was settled under the name is counted."""

    async def close(self) -> None:
        """Finishes what is under way."""


class MemoryWindows:
    """Windows of one process, taken up from the ledger at their first use: they survive a restart.

    Several gateways that share a budget need Redis: each of these knows of its own requests only.
    """

    def __init__(self, store: Store, pacer: Pacer, clock: Callable[[], float] = time.time) -> None:
        self.on_session: OnSession | None = None
        self._store = store
        self._pacer = pacer
        self._clock = clock
        self._windows: dict[str, Window] = {}
        # names of windows of sessions, what was used last at the end
        self._sessions: OrderedDict[str, None] = OrderedDict()
        # by window: what is booked while its history is read, which may not have it
        self._meanwhile: dict[str, int] = {}
        self._loading = asyncio.Lock()

    async def reserve(self, hold: str, specs: Sequence[WindowSpec], wanted: Wanted) -> int | Short:
        """Nanodollars reserved in every window, or why nothing was."""
        for spec in specs:
            if spec.name not in self._windows:
                await self._load(spec)
        now_us = micros(self._clock())
        self._used(specs)
        left = [(self._windows[s.name].available(s.amount_nano, now_us), s) for s in specs]
        available, tightest = min(left, key=lambda pair: pair[0])
        granted = wanted.granted(available)
        if granted is None:
            window = self._windows[tightest.name]
            wait_s = window.retry_after_s(tightest.amount_nano, wanted.least, now_us)
            return Short(tightest, available, wait_s)
        for spec in specs:
            self._windows[spec.name].hold(hold, granted)
        return granted

    def settle(self, hold: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Gives the hold back and books its cost in nanodollars."""
        now_us = micros(self._clock())
        for spec in specs:
            window = self._windows.get(spec.name)
            if window is not None:  # else it could not be loaded, and nothing is held in it
                window.settle(hold, cost, now_us)
                self._pacer.settled(spec, window.spent)
                if spec.session is not None and self.on_session is not None:
                    self.on_session(spec.session, window.spent)

    def book(self, name: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Books the cost of an attempt, in nanodollars, in windows that held nothing for it."""
        for spec in specs:
            if spec.name in self._meanwhile:
                self._meanwhile[spec.name] += cost
        self.settle(name, specs, cost)

    def spent(self, spec: WindowSpec) -> int:
        """Nanodollars settled in the window, as far as this process knows."""
        window = self._windows.get(spec.name)
        if window is None:
            return 0
        window.available(spec.amount_nano, micros(self._clock()))  # lets go of what is past
        return window.spent

    async def balance(self, spec: WindowSpec) -> Balance:
        """As all processes know it."""
        if spec.name not in self._windows:
            await self._load(spec)
        return Balance(self.spent(spec), self._windows[spec.name].reserved)

    def settle_lost(self, hold: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """No reservation outlives the process: the cost is in the ledger, which is read."""

    async def agreed(self, name: str, own: str) -> str:  # noqa: ARG002
        """There are no others."""
        return own

    async def booked(self, hold: str, spec: WindowSpec) -> None:
        """It is counted at once."""

    async def close(self) -> None:
        """Nothing is under way."""

    def _used(self, specs: Sequence[WindowSpec]) -> None:
        """Forgets sessions that were not used for longest: the ledger knows what they spent."""
        for spec in specs:
            if spec.session is not None:
                self._sessions[spec.name] = None
                self._sessions.move_to_end(spec.name)
        if len(self._sessions) > MOST_SESSIONS:
            name, _ = self._sessions.popitem(last=False)
            if self._windows[name].reserved > 0:
                self._sessions[name] = None
            else:
                del self._windows[name]

    async def _load(self, spec: WindowSpec) -> None:
        async with self._loading:
            if spec.name in self._windows:
                return
            self._meanwhile[spec.name] = 0
            try:
                await self._store.flush()
                window = Window(spec.slice_us)
                window.load(await asyncio.to_thread(self._history, spec))
            finally:
                meanwhile = self._meanwhile.pop(spec.name)
            # perhaps twice, never not at all
            window.settle("", meanwhile, micros(self._clock()))
            self._windows[spec.name] = window

    def _history(self, spec: WindowSpec) -> list[tuple[int, int]]:
        self._pacer.load(spec)
        return spent_slices(self._store.database, spec, micros(self._clock()))
