"""Processes large bodies outside the event loop, so that no other request waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

# A body of more bytes is large, and so is a smaller one with more values: reading a thousand
# messages takes as long as reading megabytes of text.
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
    """A few threads for large bodies: they share the interpreter with the event loop, and each of
    them slows it down."""

    def __init__(self, n_threads: int = 1) -> None:
        # It starts a thread only when one is needed.
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="p2l-heavy")

    async def run(self, work: Callable[[], T]) -> T:
        """Returns or raises what work() does. A cancelled caller does not wait for its end."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def run_where(self, large: bool, work: Callable[[], T]) -> T:
        """Runs the work in a thread where it concerns something large, else at once."""
        return await self.run(work) if large else work()

    def close(self) -> None:
        """Accepts no more work. Work in progress ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
