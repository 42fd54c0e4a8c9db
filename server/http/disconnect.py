"""Cancels a request whose caller has hung up, so that no upstream generates, and bills, for
nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.errors import ApiError, OverloadedError
from server.http.keepalive import KeepAlive

T = TypeVar("T")
_PEER: Final = "p2l.peer"
_STREAM_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class BrokenOffError(Exception):
    """Ends the events in the middle of an answer. The connection must be broken too, or the caller
    could take the part that has arrived for a whole answer."""


class Hanging(Protocol):
    """A connection whose caller may hang up."""

    @property
    def is_gone(self) -> bool:
        """Whether the caller has hung up."""

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        """Sets the callback that is called once when the caller hangs up. It replaces the previous
        one."""


class Peer(Hanging, Protocol):
    """The caller's side of a request, as our own HTTP protocol implements it."""

    @property
    def has_sent_all(self) -> bool:
        """Whether the whole body of the request has arrived."""

    @property
    def has_begun(self) -> bool:
        """Whether part of the answer has been sent."""

    def take_body(self) -> bytes:
        """Takes the part of the body that has arrived, in place of receive()."""

    def break_off(self) -> None:
        """Closes the connection in the middle of an answer, once the part already written is on its
        way."""

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Sends a whole answer, in place of send(). Returns False, and sends nothing, in unusual
        cases. headers: with content-length, names in lower case."""


def introduce(scope: Any, peer: Peer) -> None:
    """Stores the peer in the scope, for those who serve its request."""
    scope.setdefault("extensions", {})[_PEER] = peer


def peer_of(scope: Any) -> Peer | None:
    """The peer of a scope; None under a server that is not ours, for example in a test."""
    extensions = scope.get("extensions")
    peer: Peer | None = None if extensions is None else extensions.get(_PEER)
    return peer


async def run_while_connected(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """The result of work(), which is cancelled when the caller hangs up. Raises ClientDisconnect
    then."""
    with _Connected(request.scope, request.receive):
        return await work()


class _Connected:
    """Cancels the block when the caller hangs up; it then raises ClientDisconnect.

    It uses a callback: a task group would take longer than everything else done here.
    """

    __slots__ = ("_has_hung_up", "_peer", "_task")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("there is no task to cancel")
        self._task = task
        self._peer: Hanging = peer_of(scope) or _Watched(receive)
        self._has_hung_up = False

    def __enter__(self) -> None:
        if self._peer.is_gone:
            raise ClientDisconnect
        self._peer.when_gone(self._hang_up)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._peer.when_gone(None)
        cancelled = isinstance(error, asyncio.CancelledError) and self._has_hung_up
        if cancelled and self._task.uncancel() == 0:
            raise ClientDisconnect from None

    def _hang_up(self) -> None:
        self._has_hung_up = True
        self._task.cancel()


class StreamHead(Response):
    """The head of a stream of events, whose length is unknown."""

    media_type = "text/event-stream"

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**_STREAM_HEADERS, **headers})


class EventStreamResponse(StreamHead):
    """Sends server-sent events as they arrive; stops reading them when the caller hangs up.

    aclose: closes the source of the events; release: called last. Both are always called. alive:
    sends keep-alives during silences. failure: encodes an error as an event. Where the events raise
    BrokenOffError, the connection is broken.
    """

    def __init__(
        self,
        events: AsyncIterator[bytes],
        aclose: Callable[[], Awaitable[None]],
        release: Callable[[], None],
        headers: Mapping[str, str],
        alive: KeepAlive,
        failure: Callable[[ApiError], bytes],
    ) -> None:
        super().__init__(headers)
        self._events = events
        self._aclose = aclose
        self._release = release
        self._alive = alive
        self._failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with _Connected(scope, receive):
                await self._send_all(scope, send)
        except ClientDisconnect:
            pass
        except asyncio.CancelledError:
            # The cancellation comes from outside: a stopping process has no more time for this
            # request.
            if self._alive.has_begun:
                await self.send_last(scope, send, self._alive, self._failure)
            raise
        finally:
            self._alive.stop()
            try:
                with anyio.CancelScope(shield=True):
                    await self._aclose()
            finally:
                self._release()

    @staticmethod
    async def send_last(
        scope: Scope, send: Send, alive: KeepAlive, failure: Callable[[ApiError], bytes]
    ) -> None:
        """Ends a stream that has begun, in a process that stops. Cancelling does not stop it."""
        last = failure(OverloadedError("The server is shutting down."))
        alive.stop()
        with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
            await send({"type": "http.response.body", "body": last, "more_body": True})
        _break_off(scope)

    async def _send_all(self, scope: Scope, send: Send) -> None:
        alive, time = self._alive, asyncio.get_running_loop().time
        await alive.begin(self.raw_headers)
        try:
            async for event in self._events:
                alive.last_s = time()
                if alive.under_way is not None:
                    await alive.settled()
                await send({"type": "http.response.body", "body": event, "more_body": True})
        except BrokenOffError:
            alive.stop()
            _break_off(scope)
            return
        alive.stop()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _break_off(scope: Scope) -> None:
    peer = peer_of(scope)
    if peer is not None:
        peer.break_off()


class _Watched:
    """Watches for a disconnect by ASGI's own means: a task that waits for the message."""

    is_gone = False

    def __init__(self, receive: Receive) -> None:
        self._task = asyncio.ensure_future(_disconnected(receive))

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        if callback is None:
            self._callback = None
            self._task.cancel()
        else:
            self._callback = callback
            self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Future[None]) -> None:
        if self._callback is not None and not task.cancelled():
            self._callback()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
