"""Sends keep-alives through the silences of a stream.

Proxies between us and the caller take a silent stream for dead, often after a minute, and a model
may think for longer than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Send

from server.wire.surface import Surface

# Callers are promised a sign of life every ten seconds, and some of that time passes in transit.
KEEPALIVE_S: Final = 9.0
_COMMENT: Final = b": keep-alive\n\n"
_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'

RawHeaders = list[tuple[bytes, bytes]]


def beat_of(surface: Surface) -> bytes:
    """The keep-alive of a surface: a comment, which every reader of events skips; for Anthropic's
    clients, the event that they know from Anthropic."""
    return _PING if surface is Surface.MESSAGES else _COMMENT


class KeepAlive:
    """Sends a keep-alive in every silence of every_s seconds, from its creation until `stop`.

    send: sends to the caller. head: returns the headers, for a keep-alive that is due before the
    answer has begun: it begins the answer. Other senders must call `begin` first, update last_s
    (the event loop's time of the last sending), await a keep-alive that is being sent, and call
    `stop` before the last piece.
    """

    def __init__(
        self, send: Send, beat: bytes, every_s: float, head: Callable[[], RawHeaders]
    ) -> None:
        self._send = send
        self._beat = beat
        self._every_s = every_s
        self._head = head
        self._loop = asyncio.get_running_loop()
        self.has_begun = False
        self.under_way: asyncio.Task[None] | None = None
        self.last_s = self._loop.time()
        # There is one timer for the stream. It is not moved for each piece, but checks when it
        # fires.
        self._timer = self._loop.call_at(self.last_s + every_s, self._look)

    async def begin(self, headers: RawHeaders) -> None:
        """Sends the head of the answer, unless a keep-alive has already sent it."""
        await self.settled()
        if not self.has_begun:
            self.has_begun = True
            await self._send(_start(headers))

    async def settled(self) -> None:
        """Waits for the keep-alive that is being sent: the caller is slow to read."""
        task = self.under_way
        if task is not None:
            await task
            self.under_way = None

    async def cease(self) -> bool:
        """Stops, and returns whether the answer has begun."""
        self._timer.cancel()
        if self.has_begun:
            await self.settled()
        self.stop()
        return self.has_begun

    def stop(self) -> None:
        """Stops the keep-alives; safe to call twice."""
        self._timer.cancel()
        if self.under_way is not None:
            self.under_way.cancel()

    def _look(self) -> None:
        now_s = self._loop.time()
        due_s = self.last_s + self._every_s
        if now_s >= due_s:
            due_s = now_s + self._every_s
            if self.under_way is None or self.under_way.done():
                self.last_s = now_s
                self.under_way = self._loop.create_task(self._beaten())
        self._timer = self._loop.call_at(due_s, self._look)

    async def _beaten(self) -> None:
        if not self.has_begun:
            self.has_begun = True
            await self._send(_start(self._head()))
        await self._send({"type": "http.response.body", "body": self._beat, "more_body": True})


def _start(headers: RawHeaders) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": headers}
