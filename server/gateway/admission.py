"""Limits how many requests are in progress: a fixed number of places and a short, fair queue.

The queue is bounded in length and in waiting time, and serves the keys in turn: a key that floods
the gateway waits behind its own requests, and the others do not wait for it.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial

from server.config.settings import LimitsSettings
from server.errors import OverloadedError
from server.http.body import Arrivals


class Place:
    """One of the gateway's places. It is held until leave(), which the end of its context calls."""

    __slots__ = ("leave",)

    def __init__(self, leave: Callable[[], None]) -> None:
        self.leave = leave

    def __enter__(self) -> None:
        """Does nothing: the place is already held."""

    def __exit__(self, *_: object) -> None:
        self.leave()


class Admission:
    """Admits at most max_concurrency requests; at most max_waiting others wait, for up to
    max_wait_s.

    share_per_key: the share of the places that one key may hold, as long as has_several says that
    there are several keys.
    """

    def __init__(
        self,
        max_concurrency: int,
        *,
        max_waiting: int = 0,
        max_wait_s: float = 0.2,
        share_per_key: float = 1.0,
        has_several: Callable[[], bool] = lambda: True,
    ) -> None:
        self.in_flight = 0
        self.draining = False
        self.arrivals = Arrivals()
        self.has_several = has_several
        self._max_concurrency = max_concurrency
        self._max_per_key = math.ceil(share_per_key * max_concurrency)
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        # A plain dictionary: a Counter calls Python for every key that it does not have.
        self._held: dict[str, int] = {}
        # Maps a key to its waiting requests; the first key is the next to be served.
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def follow(self, limits: LimitsSettings) -> None:
        """Applies new limits. Requests that already hold a place keep it."""
        self._max_concurrency = limits.max_concurrency
        self._max_per_key = math.ceil(limits.share_per_key * limits.max_concurrency)
        self._max_waiting = limits.max_waiting
        self._max_wait_s = limits.max_wait_s
        before = -1
        while before != self.in_flight:  # Each round admits one request of every key in the queue.
            before = self.in_flight
            self._hand_on()

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a place."""
        return sum(map(len, self._queues.values()))

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits, and less than half of the places are taken."""
        is_free = 2 * self.in_flight < self._max_concurrency
        return is_free and not self.draining and not self._queues

    async def admit(self, key: str) -> Place:
        """Waits for a place. Raises OverloadedError where the queue is full or the wait is too
        long."""
        if self.draining:
            error = OverloadedError("The server is shutting down.")
            error.headers["connection"] = "close"
            raise error
        if self.in_flight < self._max_concurrency and self._may_hold_more(key):
            self._take(key)
        else:
            await self._turn(key)
        return Place(partial(self._give_back, key))

    def drain(self) -> None:
        """Admits nobody from now on, and stops waiting for request bodies that have not arrived."""
        self.draining = True
        self.arrivals.hurry()
        for queue in self._queues.values():
            for waiting in queue:
                if not waiting.done():
                    waiting.set_exception(OverloadedError("The server is shutting down."))
        self._queues.clear()

    async def _turn(self, key: str) -> None:
        if self.waiting >= self._max_waiting:
            self._make_room(key)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, deque()).append(turn)
        try:
            async with asyncio.timeout(self._max_wait_s):
                await turn
        except BaseException as error:
            self._leave(key, turn)
            if isinstance(error, TimeoutError):
                raise self._full() from None
            raise

    def _make_room(self, key: str) -> None:
        """Turns away a request of the key with the longest queue, in favour of a key with a shorter
        one. Raises OverloadedError."""
        longest = max(self._queues, key=lambda name: len(self._queues[name]), default=key)
        if len(self._queues.get(longest, ())) <= len(self._queues.get(key, ())) + 1:
            raise self._full()
        last = self._queues[longest].pop()
        if not last.done():
            last.set_exception(self._full())

    def _leave(self, key: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(key)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[key]
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            # The place was given in the very moment in which the request gave up.
            self._give_back(key)

    def _take(self, key: str) -> None:
        self.in_flight += 1
        self._held[key] = self._held.get(key, 0) + 1

    def _give_back(self, key: str) -> None:
        self.in_flight -= 1
        n_held = self._held.pop(key) - 1
        if n_held > 0:
            self._held[key] = n_held
        if self._queues:
            self._hand_on()

    def _hand_on(self) -> None:
        for key in list(self._queues):
            if self.in_flight >= self._max_concurrency:
                return
            if self._may_hold_more(key):
                self._hand_to(key)

    def _hand_to(self, key: str) -> None:
        queue = self._queues[key]
        turn = queue.popleft()
        if queue:
            self._queues.move_to_end(key)
        else:
            del self._queues[key]
        if not turn.done():
            self._take(key)
            turn.set_result(None)

    def _may_hold_more(self, key: str) -> bool:
        return self._held.get(key, 0) < self._max_per_key or not self.has_several()

    def _full(self) -> OverloadedError:
        return OverloadedError(
            f"{self._max_concurrency} requests are already in progress. Try again soon."
        )
