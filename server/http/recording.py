"""Records an answer while it is sent, for requests that join it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

RawHeaders = list[tuple[bytes, bytes]]
# The approximate memory of a piece, and of a recording, besides its bytes.
_PIECE_BYTES: Final = 64
_OWN_BYTES: Final = 1_000


class Listener:
    """A request that has joined. position: how many pieces it has received."""

    __slots__ = ("position",)

    def __init__(self) -> None:
        self.position = 0


class Recording:
    """A recorded answer. is_open: whether others may join. Once it is closed, only the part that
    its listeners still have to read is held. is_broken: whether it ended in the middle. ended_s:
    when it ended properly.

    grew: called with the number of bytes by which an open recording has grown.
    """

    __slots__ = (
        "_dropped",
        "_grew",
        "_pieces",
        "_waiting",
        "ended_s",
        "headers",
        "is_broken",
        "is_open",
        "is_over",
        "listeners",
        "on_leave",
        "size",
        "status",
    )

    def __init__(self, grew: Callable[[Recording, int], None]) -> None:
        self.status: int | None = None
        self.headers: RawHeaders = []
        self.is_open = True
        self.is_over = False
        self.is_broken = False
        self.ended_s: float | None = None
        self.size = _OWN_BYTES
        self.listeners: set[Listener] = set()
        self.on_leave: Callable[[], None] = _nothing
        self._grew = grew
        self._pieces: list[bytes] = []
        self._dropped = 0
        self._waiting: list[asyncio.Future[None]] = []

    def begin(self, status: int, headers: RawHeaders) -> None:
        """Records the head of the answer."""
        self.status, self.headers = status, headers
        self._wake()
        self._add(sum(len(name) + len(value) for name, value in headers))

    def add(self, piece: bytes) -> None:
        """Records the next piece of the body."""
        if self.is_open or self.listeners:
            self._pieces.append(piece)
            self._wake()
            self._add(len(piece) + _PIECE_BYTES)

    def complete(self) -> None:
        """Records that the body is complete."""
        self.is_over = True
        self._wake()

    def end(self) -> bool:
        """Records the end of the request; returns whether the answer is complete."""
        if not self.is_over:
            self.is_broken = True
            self.complete()
        return not self.is_broken

    async def pace(self) -> None:
        """Waits, once the recording is closed, until all listeners have read what is held:
        otherwise all of it would accumulate for a slow one."""
        while not self.is_open and any(who.position < self._n_pieces for who in self.listeners):
            await self._change()
        if not self.is_open:
            self._dropped += len(self._pieces)
            self._pieces.clear()

    def enter(self) -> Listener:
        """Adds a listener; may be called only while the recording is open."""
        listener = Listener()
        self.listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Removes a listener; safe to call twice."""
        if listener in self.listeners:
            self.listeners.discard(listener)
            self._wake()
            self.on_leave()

    async def begun(self) -> None:
        """Waits for the head, or for an end without one."""
        while self.status is None and not self.is_over:
            await self._change()

    async def pieces(self, listener: Listener) -> AsyncIterator[bytes]:
        """The body from its first byte, as it arrives."""
        while True:
            while listener.position < self._n_pieces:
                piece = self._pieces[listener.position - self._dropped]
                yield piece
                listener.position += 1
            if self.is_over:
                return
            if not self.is_open:
                self._wake()
            await self._change()

    @property
    def _n_pieces(self) -> int:
        return self._dropped + len(self._pieces)

    def _add(self, n_bytes: int) -> None:
        if self.is_open:
            self.size += n_bytes
            self._grew(self, n_bytes)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _change(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future


def _nothing() -> None:
    """Does nothing: nobody has to be told."""
