"""Repeated requests: one that is sent again joins the first. It receives the same answer, and
nothing is sent to a provider or paid for a second time."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from server.errors import InvalidRequestError, OverloadedError
from server.http.answers import HEADER, Answers, Asked
from server.http.disconnect import Peer, introduce, peer_of, run_while_connected
from server.http.recording import Listener, RawHeaders, Recording
from server.process.heavy import LARGE_BYTES, Heavy
from server.wire.headers import find_header

_KEY: Final = b"idempotency-key"
_RETRIES: Final = b"x-stainless-retry-count"
_TOLD_BY: Final = frozenset({_KEY, _RETRIES})
_MOST_CHARS: Final = 255
_HASH_BYTES: Final = 16
# The key in a request's state under which its recorder is found.
RECORDED: Final = "recorded"


def may_be_repeated(request: Request) -> bool:
    """Whether a header of the client's says that it repeats requests."""
    return not _TOLD_BY.isdisjoint([name for name, _ in request.scope["headers"]])


class Joining:
    """The recent answers of this process, for repeated requests. outlives_s: how many seconds a
    request with an Idempotency-Key goes on when everybody who waits for its answer has hung up."""

    def __init__(self, answers: Answers | None = None, outlives_s: float = 10.0) -> None:
        self.answers = Answers(time.monotonic) if answers is None else answers
        self.outlives_s = outlives_s
        self._hash_key = secrets.token_bytes(32)
        self._sweeper: asyncio.TimerHandle | None = None

    async def join(
        self, request: Request, caller: str, body: bytes, heavy: Heavy
    ) -> Recording | None:
        """The answer that the request joins, which must be followed at once. None for the first
        request of its kind: its own answer is recorded, if others may join it. Raises
        InvalidRequestError."""
        key = _key_in(request.scope["headers"])
        peer = peer_of(request.scope)
        if peer is None:
            return None
        is_retry = _is_retry(request.scope["headers"])
        asking = partial(self._asked, caller, request.scope["path"], body, key, is_retry=is_retry)
        asked = await heavy.run_where(len(body) > LARGE_BYTES, asking)
        # There must be no await from here on: of two simultaneous requests, one is the first.
        found = self.answers.find(asked)
        if found is not None:
            return found
        recording = self.answers.begin(asked)
        outlives_s = 0.0 if key is None else self.outlives_s
        first = First(peer, request._send, recording, self.answers, outlives_s)
        introduce(request.scope, first)
        request._send = first.send
        request.scope.setdefault("state", {})[RECORDED] = recording
        return None

    def end(self, recording: Recording, *, is_good: bool) -> None:
        """Records the end of the first request; a good answer is kept for a while."""
        self.answers.end(recording, is_good=is_good and (recording.status or 500) < 400)
        if self._sweeper is None and len(self.answers) > 0:
            self._sweep_later()

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(self.answers.bounds.kept_s, self._sweep)

    def _sweep(self) -> None:
        """Removes expired answers, also where no further request comes."""
        self._sweeper = None
        self.answers.sweep()
        if len(self.answers) > 0:
            self._sweep_later()

    def _asked(
        self, caller: str, path: str, body: bytes, key: str | None, *, is_retry: bool
    ) -> Asked:
        hashed = self._hash(caller, path, body)
        if key is None:
            return Asked(hashed, is_retry=is_retry)
        meaning = self._hash(caller, path, _as_meant(body))
        return Asked(hashed, self._hash(caller, HEADER, key.encode()), meaning, is_retry)

    def _hash(self, caller: str, what: str, body: bytes) -> bytes:
        digest = hashlib.blake2b(key=self._hash_key, digest_size=_HASH_BYTES)
        for part in (caller.encode("utf-8", "surrogatepass"), what.encode(), body):
            digest.update(len(part).to_bytes(8))
            digest.update(part)
        return digest.digest()


class First:
    """The caller's side of a request that others may join, as a Peer. It counts as hung up when
    nobody waits for the answer any more. It passes on and records what is sent."""

    def __init__(
        self, peer: Peer, send: Send, recording: Recording, answers: Answers, outlives_s: float
    ) -> None:
        self.is_gone = False
        self._peer = peer
        self._send = send
        self._recording = recording
        self._answers = answers
        self._outlives_s = outlives_s
        self._has_left = False
        self._timer: asyncio.TimerHandle | None = None
        self._callback: Callable[[], None] | None = None
        recording.on_leave = self._look
        if peer.is_gone:
            self._leave()
        else:
            peer.when_gone(self._leave)

    @property
    def has_sent_all(self) -> bool:
        """Whether the whole body of the request has arrived."""
        return self._peer.has_sent_all

    @property
    def has_begun(self) -> bool:
        """Whether part of the answer has been sent."""
        return self._peer.has_begun

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        """Sets the callback that is called once when the caller hangs up."""
        self._callback = callback

    def take_body(self) -> bytes:
        """Takes the part of the body that has arrived."""
        return self._peer.take_body()

    def break_off(self) -> None:
        """Closes the connection in the middle of the answer."""
        self._over()
        self._recording.end()
        self._peer.break_off()

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Sends a whole answer; returns False, and sends nothing, where that is not possible."""
        told = list(headers)
        if not self._peer.answer(status, told, body):
            return False
        self._over()
        self._recording.begin(status, told)
        self._recording.add(body)
        self._recording.complete()
        return True

    async def send(self, message: Message) -> None:
        """Sends and records a message; replaces the send function that it was created with."""
        recording = self._recording
        if message["type"] == "http.response.start":
            recording.begin(message["status"], list(message["headers"]))
        elif message["type"] == "http.response.body":
            if message.get("body"):
                recording.add(message["body"])
            if not message.get("more_body", False):
                self._over()
                recording.complete()
            if not recording.is_open:
                await recording.pace()
        await self._send(message)

    def _over(self) -> None:
        """From now on, the connection belongs to the next request."""
        if not self._has_left:
            self._peer.when_gone(None)
        if self._timer is not None:
            self._timer.cancel()

    def _leave(self) -> None:
        self._has_left = True
        self._look()

    def _look(self) -> None:
        if not self._has_left or self._recording.listeners or self._recording.is_over:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._outlives_s > 0.0:
            self._timer = asyncio.get_running_loop().call_later(self._outlives_s, self._give_up)
        else:
            self._give_up()

    def _give_up(self) -> None:
        if self._recording.listeners or self._recording.is_over:
            return
        self.is_gone = True
        self._answers.forget(self._recording)
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class JoinedResponse(Response):
    """The answer of a joined request, from its first byte."""

    def __init__(self, recording: Recording, listener: Listener) -> None:
        self.status_code = recording.status or 500
        self.background = None
        self.raw_headers = list(recording.headers)
        self._recording = recording
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await run_while_connected(Request(scope, receive), lambda: self._send_all(scope, send))
        except ClientDisconnect:
            pass
        finally:
            self._recording.leave(self._listener)

    async def _send_all(self, scope: Scope, send: Send) -> None:
        headers = self.raw_headers
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        async for piece in self._recording.pieces(self._listener):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        peer = peer_of(scope)
        if self._recording.is_broken and peer is not None:
            peer.break_off()
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def followed(request: Request, recording: Recording) -> Response:
    """The joined answer, once its head is known. Raises ClientDisconnect, or OverloadedError where
    the first request came to no answer."""
    listener = recording.enter()
    try:
        await run_while_connected(request, recording.begun)
        if recording.status is None:
            raise OverloadedError("The earlier request that this one repeats was cancelled.")
    except BaseException:
        recording.leave(listener)
        raise
    return JoinedResponse(recording, listener)


def _key_in(raw: RawHeaders) -> str | None:
    given = [value for name, value in raw if name == _KEY]
    if not given:
        return None
    if len(given) > 1:
        raise InvalidRequestError(f"{HEADER} is given more than once.", param=HEADER)
    key = given[0].decode("latin-1").strip(" \t")
    if not 0 < len(key) <= _MOST_CHARS or not key.isprintable():
        raise InvalidRequestError(
            f"{HEADER} must be a text of 1 to {_MOST_CHARS} printable characters.", param=HEADER
        )
    return key


def _as_meant(body: bytes) -> bytes:
    """A normal form of the body: equal for bodies that differ only in spaces, escapes or the order
    of fields."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return body


def _is_retry(raw: RawHeaders) -> bool:
    told = find_header(raw, _RETRIES)
    return told is not None and told.isdigit() and int(told[:9]) > 0
