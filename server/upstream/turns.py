"""The places of one provider: so many calls at a time, in the order in which they were asked
for."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Like asyncio.Semaphore, but taking a free place is one call and no coroutine."""

    def __init__(self, n_places: int) -> None:
        self._n_free = n_places
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Takes a place at once; returns False where none is free."""
        if self._n_free == 0:
            return False
        self._n_free -= 1
        return True

    async def wait(self) -> None:
        """Waits until a place is handed over."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                # The place came in the very moment in which the caller gave up.
                self.give_back()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def give_back(self) -> None:
        """Hands the place to the call that has waited longest, or frees it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._n_free += 1
