"""Shuts a process down, part by part: a part that fails does not keep the next from being
closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from server.process.bugs import kind_and_place

_LOG: Final = logging.getLogger("p2l_router")
# Longer than any part waits by itself: the storage writes its records for up to ten seconds.
_PATIENCE_S: Final = 15.0


class Closing:
    """A context at whose end the parts are closed, the last one registered first. A part's
    exceptions are logged; one that hangs is abandoned after a while."""

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._parts: list[tuple[str, Callable[[], Awaitable[None]]]] = []

    def at_the_end(self, name: str, close: Callable[[], Awaitable[None]]) -> None:
        """Registers a part. close: called only at the end."""
        self._parts.append((name, close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cancelled: asyncio.CancelledError | None = None
        for name, close in reversed(self._parts):
            try:
                async with asyncio.timeout(self._patience_s):
                    await close()
            except asyncio.CancelledError as error:
                cancelled = error  # the rest is closed nevertheless
            except Exception as error:
                _LOG.error("closing: %s: %s", name, kind_and_place(error))
        if cancelled is not None:
            raise cancelled
