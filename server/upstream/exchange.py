"""One HTTP exchange with a provider: limits and deadlines, and the errors for exceeding them.

Everything here is the same for every kind of provider; each kind interprets the answers itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import field
from typing import Any, Final

import anyio
import httpx

from router.record import record
from server.process.heavy import LARGE_BYTES, Heavy
from server.upstream.causes import TooSlowError, UnreachableError, broken_off
from server.upstream.decoding import decoded
from server.upstream.errors import (
    Progress,
    Stage,
    UpstreamBusyError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from server.upstream.http1 import Deadline
from server.upstream.network import NetworkBody, SharedRequest, SharedResponse
from server.upstream.patience import Patience
from server.upstream.turns import Turns
from server.wire.sse import SseEvent, SseParser, SseTooLargeError

EVENT_STREAM: Final = "text/event-stream"
# What an adapter says of a provider.
NO_STREAM: Final = "was asked for a stream but answered with something else"
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
# The largest error body that is read; only its reason is needed.
_MAX_ERROR_BYTES: Final = 256 * 1024
# How long to wait, after the last event, for the end of the answer, so that the connection can be
# reused.
_DRAIN_S: Final = 0.1
_WRITE_TIMEOUT_S: Final = 30.0
_WAITING_PER_PLACE: Final = 4
_FAULTS: Final = (
    TimeoutError,
    SseTooLargeError,
    httpx.HTTPError,
    httpx.StreamError,
    httpx.InvalidURL,
)
# Events in one batch; other tasks run between two batches.
_MOST_EVENTS: Final = 64
QUEUE_TIMEOUT_S: Final = 5.0
_PATIENCE: Final = Patience()


@record(frozen=True, slots=True)
class Call:
    """A POST to be sent. Its repr shows neither headers (the key) nor content (the prompt).

    headers: httpx.Headers must be the same object, unchanged, for many calls. progress: updated
    while the call is sent.
    """

    url: httpx.URL
    headers: Mapping[str, str] | httpx.Headers = field(repr=False)
    content: bytes = field(repr=False)
    progress: Progress = field(default_factory=Progress)


@record(frozen=True, slots=True)
class Answer:
    """A whole answer. content_type: lower-case, without parameters."""

    response: httpx.Response = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def headers(self) -> httpx.Headers:
        return self.response.headers

    @property
    def content_type(self) -> str:
        return content_type_of(self.response)

    @property
    def is_large(self) -> bool:
        """Whether reading it takes so long that it is read in a thread."""
        return len(self.content) > LARGE_BYTES


class Exchange:
    """Sends calls to one provider, at most max_concurrency at a time; a few times as many may wait
    for a place, each for at most queue_timeout_s.

    transport: must heed the `deadline` in a request's extensions, as NetworkTransport does, and
    should update their `progress`; otherwise a call counts as sent. patience: how long an answer is
    waited for. heavy: where large bodies are encoded and read.
    """

    def __init__(
        self,
        provider: str,
        transport: httpx.AsyncBaseTransport,
        *,
        connect_timeout_s: float = 2.0,
        patience: Patience = _PATIENCE,
        max_concurrency: int = 256,
        queue_timeout_s: float = QUEUE_TIMEOUT_S,
    ) -> None:
        self.heavy = Heavy(1)
        self._provider = provider
        self._transport = transport
        self._timeouts = {"connect": connect_timeout_s, "write": _WRITE_TIMEOUT_S}
        self._patience = patience
        self._queue_timeout_s = queue_timeout_s
        self._turns = Turns(max_concurrency)
        self._n_waiting = 0
        self._max_waiting = _WAITING_PER_PLACE * max_concurrency

    async def post(self, call: Call) -> Answer:
        """The whole answer, whatever its status.

        Raises UpstreamBusyError, UpstreamTimeoutError and UpstreamUnavailableError.
        """
        await self._take_place(call.progress)
        try:
            limits = self._limits(whole=True, thinks=call.progress.thinks)
            response = await self._send(call, limits)
            try:
                return await self._whole(response, limits)
            finally:
                await _close(response)
        finally:
            self._turns.give_back()

    async def events(
        self, call: Call, refusal: Callable[[Answer], UpstreamError]
    ) -> AsyncGenerator[SseEvent, None]:
        """As `batches`, one event at a time."""
        async with aclosing(self.batches(call, refusal)) as batches:
            async for batch in batches:
                for event in batch:
                    yield event

    async def batches(
        self, call: Call, refusal: Callable[[Answer], UpstreamError]
    ) -> AsyncGenerator[list[SseEvent], None]:
        """The events of the answer, until its end or until the generator is closed. Events that
        arrive together are yielded together.

        JSON in place of a stream is one event (`is_whole`): some servers do not stream. refusal:
        makes the error for anything else that is not an event stream. Raises like `post`. The
        deadline for the first byte ends with the first event, so keep-alives before it do not
        extend it.
        """
        await self._take_place(call.progress)
        try:
            limits = self._limits(whole=False, thinks=call.progress.thinks)
            response = await self._send(call, limits)
            reader = _EventReader(response, limits)
            try:
                if _is_whole(response):
                    answer = await self._whole(response, limits)
                    yield [SseEvent(answer.content, is_whole=True)]
                    return
                if response.status_code != 200 or content_type_of(response) != EVENT_STREAM:
                    raise refusal(await self._refused(response, limits))
                while (batch := await reader.read()) is not None:
                    for start in range(0, len(batch), _MOST_EVENTS):
                        if start > 0:
                            await asyncio.sleep(0)
                        yield batch[start : start + _MOST_EVENTS]
            except _FAULTS as error:
                awaited = "the rest" if reader.started else "the first event"
                raise self._named(error, awaited) from None
            finally:
                await _close(response)
        finally:
            self._turns.give_back()

    async def close(self) -> None:
        """Closes every connection."""
        self.heavy.close()
        await self._transport.aclose()

    def _limits(self, *, whole: bool, thinks: bool) -> _Limits:
        patience = self._patience
        return _Limits(
            patience.first_byte_of(whole=whole, thinks=thinks),
            patience.total_s,
            patience.idle_of(thinks=thinks),
        )

    async def _take_place(self, progress: Progress) -> None:
        progress.stage = Stage.WAITING
        if self._turns.take():
            return
        if self._n_waiting >= self._max_waiting:
            raise self._busy()
        self._n_waiting += 1
        try:
            async with asyncio.timeout(self._queue_timeout_s):
                await self._turns.wait()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._n_waiting -= 1

    def _busy(self) -> UpstreamBusyError:
        return UpstreamBusyError(
            f"{self._provider} has reached max_concurrency, the limit of requests at a time",
            stage=Stage.WAITING,
        )

    async def _send(self, call: Call, limits: _Limits) -> httpx.Response:
        call.progress.stage = Stage.SENT
        extensions = {
            "timeout": self._timeouts,
            "deadline": limits.deadline,
            "progress": call.progress,
        }
        request: httpx.Request
        if isinstance(call.headers, httpx.Headers):
            request = SharedRequest(call.url, call.headers, call.content, extensions)
        else:
            stream = httpx.ByteStream(call.content)
            request = httpx.Request(
                "POST", call.url, headers=call.headers, stream=stream, extensions=extensions
            )
        try:
            return await self._transport.handle_async_request(request)
        except _FAULTS as error:
            raise self._named(error, "the first byte") from None

    async def _refused(self, response: httpx.Response, limits: _Limits) -> Answer:
        if response.status_code == 200:
            # The answer has the wrong type, and may be endless: nothing in it is useful.
            return Answer(response, b"")
        return await self._whole(response, limits)

    async def _whole(self, response: httpx.Response, limits: _Limits) -> Answer:
        limit = MAX_BODY_BYTES if response.status_code == 200 else _MAX_ERROR_BYTES
        parts: list[bytes] = []
        n_bytes = 0
        if response.status_code != 200:
            limits.expect_more()
        chunks = _chunks(response)
        try:
            while (chunk := await anext(chunks, None)) is not None:
                parts.append(chunk)
                n_bytes += len(chunk)
                if n_bytes > limit:
                    raise UpstreamUnavailableError(
                        f"{self._provider} sent more than {limit} bytes",
                        status=response.status_code,
                    )
                limits.expect_more()
        except _FAULTS as error:
            raise self._named(error, "the rest") from None
        return Answer(response, parts[0] if len(parts) == 1 else b"".join(parts))

    def _named(self, error: Exception, awaited: str) -> UpstreamError:
        """Our error for an exception of the network.

        Only its type is used: the libraries' own messages can quote a header.
        """
        if isinstance(error, httpx.ConnectTimeout):
            doing = f" ({error.cause})" if isinstance(error, TooSlowError) else ""
            return UpstreamTimeoutError(
                f"{self._provider} did not accept a connection in time{doing}",
                stage=Stage.CONNECTING,
            )
        if isinstance(error, httpx.ConnectError):
            cause = error.cause if isinstance(error, UnreachableError) else "ConnectError"
            return UpstreamUnavailableError(
                f"{self._provider} could not be reached: {cause}", stage=Stage.CONNECTING
            )
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            return UpstreamTimeoutError(
                f"{self._provider} took too long: it was waited for {awaited}"
            )
        if isinstance(error, SseTooLargeError):
            return UpstreamUnavailableError(f"{self._provider} sent too much: {error}")
        return UpstreamUnavailableError(
            f"{self._provider} broke off the answer: {broken_off(error)}"
        )


class _Limits:
    """The time limits of one answer, in seconds. `deadline`, on the event loop's clock, is for what
    is being waited for: the first byte (or event), until `expect_more` moves it to the next."""

    __slots__ = ("_end_s", "_idle_timeout_s", "_time", "deadline")

    def __init__(self, first_byte_s: float, total_s: float, idle_timeout_s: float) -> None:
        self._time = asyncio.get_running_loop().time
        now_s = self._time()
        self.deadline = Deadline(now_s + min(first_byte_s, total_s))
        self._end_s = now_s + total_s
        self._idle_timeout_s = idle_timeout_s

    def expect_more(self) -> None:
        self.deadline.at_s = min(self._time() + self._idle_timeout_s, self._end_s)


class _EventReader:
    """Reads the events of one response. The first event must come in time; after it, no silence may
    exceed the limits (comments do not count as silence), nor may the total time, and the answer may
    have at most MAX_BODY_BYTES."""

    def __init__(self, response: httpx.Response, limits: _Limits) -> None:
        self._chunks = _chunks(response)
        self._limits = limits
        self._parser = SseParser()
        self._n_bytes = 0
        self._ended = False
        self.started = False

    async def read(self) -> list[SseEvent] | None:
        """The next events; None at the end. Raises httpx.TransportError and SseTooLargeError."""
        events: list[SseEvent] = []
        while not events and not self._ended:
            if self.started:
                self._limits.expect_more()
            events = self._parsed(await anext(self._chunks, None))
        self.started = self.started or bool(events)
        return events or None

    def _parsed(self, chunk: bytes | None) -> list[SseEvent]:
        if chunk is None:
            self._ended = True
            return self._parser.flush()
        self._n_bytes += len(chunk)
        if self._n_bytes > MAX_BODY_BYTES:
            raise SseTooLargeError(f"a stream is larger than {MAX_BODY_BYTES} bytes")
        return self._parser.feed(chunk)


async def drain(events: AsyncGenerator[Any, None]) -> None:
    """Reads past the last event to the end of the answer, so that the connection can be kept.

    If the provider leaves the answer open, the connection is closed.
    """
    with anyio.move_on_after(_DRAIN_S):
        async for _ in events:
            pass


def _is_whole(response: httpx.Response) -> bool:
    return response.status_code == 200 and content_type_of(response) == "application/json"


def content_type_of(response: httpx.Response) -> str:
    """The media type in lower case, without its parameters; empty where there is none."""
    return _header(response, "content-type").partition(";")[0].strip().lower()


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """The decoded body. Raises httpx.DecodingError where it cannot be decoded."""
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        return response.aiter_bytes()
    header = _header(response, "content-encoding")
    return decoded(aiter(stream), header) if header else aiter(stream)


def _header(response: httpx.Response, name: str) -> str:
    """A header's value; empty where there is none."""
    if isinstance(response, SharedResponse):
        return response.header(name.encode()) or ""
    value: str = response.headers.get(name, "")
    return value


async def _close(response: httpx.Response) -> None:
    # A cancelled caller must still close the connection, or the provider goes on.
    if isinstance(response.stream, NetworkBody):
        response.stream.let_go()
        return
    with anyio.CancelScope(shield=True):
        await response.aclose()
