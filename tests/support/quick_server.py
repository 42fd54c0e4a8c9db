"""uvicorn's server in a thread of a test, which starts and stops without waiting for a clock.

uvicorn itself looks ten times a second whether it is to stop, and then sleeps a tenth of a second
whatever there is to wait for: a quarter of a second for each of thousands of gateways.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Final

import uvicorn

_TICK_S: Final = 0.1  # uvicorn's own: so often it renews the date of its answers
_START_S: Final = 20.0


class QuickServer(uvicorn.Server):
    """start() returns when it listens, stop() when it has ended."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._listens = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises TimeoutError where it does not listen within 20 seconds."""
        self._thread = threading.Thread(target=self.run, args=(sockets,), daemon=True)
        self._thread.start()
        if not self._listens.wait(_START_S):
            raise TimeoutError("the server did not start")

    def stop(self) -> None:
        """Ends the connections as uvicorn does: what is being answered is answered first."""
        self.should_exit = True
        with contextlib.suppress(RuntimeError):  # its loop has ended by itself
            self._loop.call_soon_threadsafe(self._wanted.set)
        if self._thread is not None:
            self._thread.join(_START_S)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._wanted = asyncio.Event()
        await super().startup(sockets)
        self._listens.set()

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), _TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._let_them_end()
        if not self.force_exit:
            await self.lifespan.shutdown()

    async def _let_them_end(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + (self.config.timeout_graceful_shutdown or _START_S)
        while self.server_state.connections or self.server_state.tasks:
            if self.force_exit:
                return
            if loop.time() > until:
                for task in self.server_state.tasks:
                    task.cancel()
                return
            await asyncio.sleep(0.002)
        await asyncio.sleep(0)  # transports that have just been closed take a round of the loop
