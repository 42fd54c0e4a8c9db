"""Work on large bodies, off the event loop: nobody else's request waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

# A body of more bytes is large, and so is one of fewer that holds more values, about: to read a
# thousand messages takes as long as to read megabytes of text.
LARGE_BYTES: Final = 256 * 1024
_MANY_VALUES: Final = 2_000


def is_large(raw: bytes) -> bool:
    """Whether a body, or an answer, takes so long to read that it is read in a thread."""
    if len(raw) > LARGE_BYTES:
        return True
    if len(raw) <= _MANY_VALUES:
        return False
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{") > _MANY_VALUES


class Heavy:
    """Threads for it, few at a time: they share the interpreter with the event loop, and each that
    computes makes it wait."""

    def __init__(self, n_threads: int = 1) -> None:
        # it starts a thread when one is needed, not before
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="p2l-heavy")

    async def run(self, work: Callable[[], T]) -> T:
        """What work() returns, or raises. Whoever is cancelled does not wait for its end."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def run_where(self, large: bool, work: Callable[[], T]) -> T:
        """The same where it is about something large, else at once."""
        return await self.run(work) if large else work()

    def close(self) -> None:
        """Takes no more work. What is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
