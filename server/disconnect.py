"""A caller who hangs up must not leave an upstream generating, and billing, for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.errors import OverloadedError
from server.sse import error_event

T = TypeVar("T")


async def run_while_connected(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """The result of work(), which is cancelled when the caller hangs up (ClientDisconnect)."""
    with _connected(request.receive):
        return await work()


@contextmanager
def _connected(receive: Receive) -> Iterator[None]:
    """Cancels the block when the caller hangs up; it then raises ClientDisconnect.

    A task and a callback, where a task group would take longer than all else we do here.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("there is no task to cancel")
    watcher = asyncio.ensure_future(_disconnected(receive))
    has_hung_up = False

    def hang_up(watcher: asyncio.Future[None]) -> None:
        nonlocal has_hung_up
        if not watcher.cancelled():
            has_hung_up = True
            task.cancel()

    watcher.add_done_callback(hang_up)
    try:
        yield
    except asyncio.CancelledError:
        if has_hung_up and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        watcher.remove_done_callback(hang_up)
        watcher.cancel()


class EventStreamResponse(Response):
    """Sends server-sent events as they come; stops reading them when the caller hangs up.

    aclose: closes their source; release: called last. Both run whatever happens.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[bytes],
        aclose: Callable[[], Awaitable[None]],
        release: Callable[[], None],
        headers: Mapping[str, str],
    ) -> None:
        self.status_code = 200
        self.background = None
        self._events = events
        self._aclose = aclose
        self._release = release
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no", **headers})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        try:
            with _connected(receive):
                await self._send_all(send)
        except ClientDisconnect:
            pass
        except asyncio.CancelledError:
            # from outside: a stopping process has no more time for it
            with anyio.CancelScope(shield=True):
                await self._send_last(send)
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._aclose()
            self._release()

    async def _send_last(self, send: Send) -> None:
        error = OverloadedError("The server is shutting down.").body["error"]
        with anyio.move_on_after(1.0):
            for body, more in ((error_event(error), True), (b"", False)):
                await send({"type": "http.response.body", "body": body, "more_body": more})

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for event in self._events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
