"""A stream that says nothing is taken for dead by what is on the way to the caller, often after a
minute. A model may think for longer: meanwhile something is sent that means nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Send

from server.wire.surface import Surface

# A caller is promised a sign of life in every ten seconds, and some of them pass on the way.
KEEPALIVE_S: Final = 9.0
_COMMENT: Final = b": keep-alive\n\n"
_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'

RawHeaders = list[tuple[bytes, bytes]]


def beat_of(surface: Surface) -> bytes:
    """What is sent through a silence: a comment, which every reader of events skips, and where
    Anthropic's clients call, what they know from Anthropic."""
    return _PING if surface is Surface.MESSAGES else _COMMENT


class KeepAlive:
    """Sends a beat into every silence of every_s seconds, from now on until `stop`.

    send: to the caller. head: the headers, asked for where a beat is due before the answer has
    begun: the answer begins with it. Whoever sends besides calls `begin` first, keeps last_s (the
    event loop's time at which something was last sent), waits for the beat that is under way, and
    calls `stop` before the last piece.
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
        # one timer for the stream: it is not moved for each piece, but looks when it goes off
        self._timer = self._loop.call_at(self.last_s + every_s, self._look)

    async def begin(self, headers: RawHeaders) -> None:
        """Sends the head of the answer, unless a beat has."""
        await self.settled()
        if not self.has_begun:
            self.has_begun = True
            await self._send(_start(headers))

    async def settled(self) -> None:
        """Waits for the beat that is under way: the caller is slow to read."""
        task = self.under_way
        if task is not None:
            await task
            self.under_way = None

    async def cease(self) -> bool:
        """Stops, and says whether the answer has begun."""
        self._timer.cancel()
        if self.has_begun:
            await self.settled()
        self.stop()
        return self.has_begun

    def stop(self) -> None:
        """No more of it; safe to call twice."""
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
