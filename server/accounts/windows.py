"""Window budgets: their interface, and the implementation for one process."""

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

# The number of sessions whose money is counted in memory.
MOST_SESSIONS: Final = 50_000

# Receives a session, and the nanodollars settled in it.
OnSession = Callable[[str, int], None]
# Receives a window in which money was settled under the name of a hold, or which refused an
# attempt: then also the nanodollars that the attempt needed at least.
Watch = Callable[[WindowSpec, str, int | None], None]


def unwatched(spec: WindowSpec, hold: str, least: int | None) -> None:
    """Does nothing: nobody watches the windows."""


class Windows(Protocol):
    """Counts windows. A hold is identified by the name of its attempt. on_session: called after
    each settlement in a session."""

    on_session: OnSession | None

    async def reserve(self, hold: str, specs: Sequence[WindowSpec], wanted: Wanted) -> int | Short:
        """Reserves. Returns the nanodollars reserved in every window, or why nothing was reserved.
        Raises StorageError."""

    def settle(self, hold: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Releases the hold and books its cost in nanodollars. Does not wait."""

    def book(self, name: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Books the cost of an attempt, in nanodollars, in windows that held nothing for it. A
        window that is not loaded yet is skipped: its history will contain the cost. Does not
        wait."""

    def spent(self, spec: WindowSpec) -> int:
        """Nanodollars settled in the window, as far as this process knows."""

    async def balance(self, spec: WindowSpec) -> Balance:
        """The balance as all processes know it. Raises StorageError."""

    def settle_lost(self, hold: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Settles an attempt of a process that died, where its reservation outlived the process."""

    async def agreed(self, name: str, own: str) -> str:
        """A value on which all gateways that share the windows agree: the first one that any of
        them has proposed. Raises StorageError."""

    async def booked(self, hold: str, spec: WindowSpec) -> None:
        """Waits briefly until what was settled under the name is counted."""

    async def close(self) -> None:
        """Finishes the work in progress."""


class MemoryWindows:
    """The windows of one process. They are loaded from the ledger at their first use, and so
    survive a restart.

    Several gateways that share a budget need Redis: each of these knows only its own requests.
    """

    def __init__(self, store: Store, pacer: Pacer, clock: Callable[[], float] = time.time) -> None:
        self.on_session: OnSession | None = None
        self._store = store
        self._pacer = pacer
        self._clock = clock
        self._windows: dict[str, Window] = {}
        # The names of sessions' windows, the most recently used last.
        self._sessions: OrderedDict[str, None] = OrderedDict()
        # By window: what is booked while its history is read, which may not contain it.
        self._meanwhile: dict[str, int] = {}
        self._loading = asyncio.Lock()

    async def reserve(self, hold: str, specs: Sequence[WindowSpec], wanted: Wanted) -> int | Short:
        """Reserves. Returns the nanodollars reserved in every window, or why nothing was
        reserved."""
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
        """Releases the hold and books its cost in nanodollars."""
        now_us = micros(self._clock())
        for spec in specs:
            window = self._windows.get(spec.name)
            if window is not None:  # otherwise it could not be loaded, and nothing is held in it
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
        window.available(spec.amount_nano, micros(self._clock()))  # drops what has left the window
        return window.spent

    async def balance(self, spec: WindowSpec) -> Balance:
        """The balance as all processes know it."""
        if spec.name not in self._windows:
            await self._load(spec)
        return Balance(self.spent(spec), self._windows[spec.name].reserved)

    def settle_lost(self, hold: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Does nothing: no reservation outlives the process, and the cost is read from the
        ledger."""

    async def agreed(self, name: str, own: str) -> str:  # noqa: ARG002
        """Returns `own`: there are no other gateways."""
        return own

    async def booked(self, hold: str, spec: WindowSpec) -> None:
        """Does nothing: a settlement is counted at once."""

    async def close(self) -> None:
        """Does nothing: there is no work in progress."""

    def _used(self, specs: Sequence[WindowSpec]) -> None:
        """Drops the least recently used sessions: the ledger knows what they spent."""
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
            # It may count twice, but is never lost.
            window.settle("", meanwhile, micros(self._clock()))
            self._windows[spec.name] = window

    def _history(self, spec: WindowSpec) -> list[tuple[int, int]]:
        self._pacer.load(spec)
        return spent_slices(self._store.database, spec, micros(self._clock()))
