"""An answer as it is sent, for those who join it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

RawHeaders = list[tuple[bytes, bytes]]
# What a piece, and what a recording takes besides its bytes, roughly.
_PIECE_BYTES: Final = 64
_OWN_BYTES: Final = 1_000


class Listener:
    """One who has joined. position: how many pieces it has been given."""

    __slots__ = ("position",)

    def __init__(self) -> None:
        self.position = 0


class Recording:
    """is_open: others may join. Once it is not, no more of it is held than its listeners still
    have to read. is_broken: it has ended in the middle. ended_s: when it ended well.

    grew: is told by how many bytes an open one has grown.
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
        """The head of the answer."""
        self.status, self.headers = status, headers
        self._wake()
        self._add(sum(len(name) + len(value) for name, value in headers))

    def add(self, piece: bytes) -> None:
        """The next of the body."""
        if self.is_open or self.listeners:
            self._pieces.append(piece)
            self._wake()
            self._add(len(piece) + _PIECE_BYTES)

    def complete(self) -> None:
        """Nothing more comes."""
        self.is_over = True
        self._wake()

    def end(self) -> bool:
        """Nothing more comes; whether it is a whole answer."""
        if not self.is_over:
            self.is_broken = True
            self.complete()
        return not self.is_broken

    async def pace(self) -> None:
        """What is held no longer is read by everybody who has joined before more of it comes: a
        slow one would else have all of it pile up here."""
        while not self.is_open and any(who.position < self._n_pieces for who in self.listeners):
            await self._change()
        if not self.is_open:
            self._dropped += len(self._pieces)
            self._pieces.clear()

    def enter(self) -> Listener:
        """To be called while it is open."""
        listener = Listener()
        self.listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Safe to call twice."""
        if listener in self.listeners:
            self.listeners.discard(listener)
            self._wake()
            self.on_leave()

    async def begun(self) -> None:
        """Waits for the head, or for an end without one."""
        while self.status is None and not self.is_over:
            await self._change()

    async def pieces(self, listener: Listener) -> AsyncIterator[bytes]:
        """The body from its first byte, as it comes."""
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
    """Nobody is to be told."""
