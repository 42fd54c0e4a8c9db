"""uvicorn's server with our own stop and reload: SIGTERM drains, SIGHUP reloads."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

import uvicorn

from server.gateway.admission import Admission
from server.process.tcp import AT_REST_S

# The seconds in which the data already written may reach its callers, once no request is in
# progress.
_LAST_WORDS_S = 2


class GatewayServer(uvicorn.Server):
    """The first SIGTERM or SIGINT refuses new requests (503 with Retry-After, /readyz too) and
    waits, for at most drain_s, until no request is in progress; the remaining ones are ended with
    an error event. A second signal does not wait.

    reload: called on SIGHUP, one call at a time.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        admission: Admission,
        *,
        drain_s: float,
        reload: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        super().__init__(config)
        self._admission = admission
        self._drain_s = drain_s
        self._reload = reload
        self._stop_at: float | None = None
        self._wants_reload = False
        self._reloading: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload_soon)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._drain_s
        else:
            self._stop_at = 0.0

    def reload_soon(self) -> None:
        """Reads the configuration again at the next tick."""
        self._wants_reload = True

    async def on_tick(self, counter: int) -> bool:
        self._start_reload()
        if self._stop_at is not None:
            self._drain(self._stop_at)
        return await super().on_tick(counter)

    def _drain(self, stop_at: float) -> None:
        if not self._admission.draining:
            self._admission.drain()
        if self._admission.in_flight == 0:
            self.should_exit = True
        elif time.monotonic() >= stop_at:
            for task in list(self.server_state.tasks):
                task.cancel()
            self.should_exit = True

    def _start_reload(self) -> None:
        busy = self._reloading is not None and not self._reloading.done()
        if self._wants_reload and not busy and self._stop_at is None:
            self._wants_reload = False
            self._reloading = asyncio.create_task(self._reload())


def server_config(app: object, protocol: Callable[..., asyncio.Protocol]) -> uvicorn.Config:
    """uvicorn's configuration. Headers by which a caller could claim another address
    (X-Forwarded-*) are not trusted."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_LAST_WORDS_S,
        timeout_keep_alive=AT_REST_S,
        backlog=2048,
    )
