"""One HTTP exchange with a provider: limits, deadlines, and what their breach is called.

Everything here is the same for every kind of provider; what an answer means is the kind's own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, cast

import anyio
import httpx

from server.sse import SseEvent, SseParser, SseTooLargeError
from server.upstream.errors import (
    Stage,
    UpstreamBusyError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

EVENT_STREAM: Final = "text/event-stream"
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
# What an error answer may hold; it is only read for its reason.
_MAX_ERROR_BYTES: Final = 1024 * 1024
# How long to wait, after the last event, for the end that lets the connection be used again.
_DRAIN_S: Final = 0.1
_WRITE_TIMEOUT_S: Final = 30.0
_WAITING_PER_PLACE: Final = 4
TOTAL_TIMEOUT_S: Final = 600.0
QUEUE_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Call:
    """A POST as it goes out. Its repr shows neither headers (the key) nor content (the prompt)."""

    url: httpx.URL
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. content_type: lower-case, without parameters."""

    status: int
    headers: httpx.Headers = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def content_type(self) -> str:
        return content_type_of(self.headers)


class Exchange:
    """Sends calls to one provider, at most max_concurrency at a time; a few times as many may
    wait for a place, each for queue_timeout_s at most.

    first_byte_timeout_s: from sending to the first event, or to the head of a whole answer.
    idle_timeout_s: the longest silence after that.
    total_timeout_s: from sending to the end of the answer, however lively it is.
    """

    def __init__(
        self,
        provider: str,
        client: httpx.AsyncClient,
        *,
        connect_timeout_s: float = 2.0,
        first_byte_timeout_s: float = 30.0,
        idle_timeout_s: float = 60.0,
        max_concurrency: int = 256,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        queue_timeout_s: float = QUEUE_TIMEOUT_S,
    ) -> None:
        self._provider = provider
        self._client = client
        # only these two are httpx's to time: it does not know a first byte from a later one
        self._timeout = httpx.Timeout(
            connect=connect_timeout_s, write=_WRITE_TIMEOUT_S, read=None, pool=None
        )
        self._first_byte_timeout_s = first_byte_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._total_timeout_s = total_timeout_s
        self._queue_timeout_s = queue_timeout_s
        self._slots = anyio.Semaphore(max_concurrency)
        self._max_waiting = _WAITING_PER_PLACE * max_concurrency

    async def post(self, call: Call) -> Answer:
        """The whole answer, whatever its status.

        Raises UpstreamBusyError, UpstreamTimeoutError and UpstreamUnavailableError.
        """
        async with self._slot():
            limits = self._limits()
            async with self._sent(call, limits) as response:
                return await self._whole(response, limits)

    async def events(
        self, call: Call, refusal: Callable[[Answer], UpstreamError]
    ) -> AsyncGenerator[SseEvent, None]:
        """The events of the answer, until its end or until the generator is closed.

        refusal: what to raise for an answer that is no event stream. Raises as `post` does. The
        first byte's deadline ends with the first event, so keep-alives before it do not stretch
        it.
        """
        async with self._slot():
            limits = self._limits()
            async with self._sent(call, limits) as response:
                if response.status_code != 200 or content_type_of(response.headers) != EVENT_STREAM:
                    raise refusal(await self._refused(response, limits))
                async with _chunks(response) as chunks:
                    reader = _EventReader(chunks, limits)
                    while (batch := await self._next(reader)) is not None:
                        for event in batch:
                            yield event

    async def close(self) -> None:
        """Closes the client and with it every connection."""
        await self._client.aclose()

    def _limits(self) -> _Limits:
        now = anyio.current_time()
        return _Limits(
            first_byte_s=now + self._first_byte_timeout_s,
            end_s=now + self._total_timeout_s,
            idle_timeout_s=self._idle_timeout_s,
        )

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._slots.statistics().tasks_waiting >= self._max_waiting:
            raise self._busy()
        try:
            with anyio.fail_after(self._queue_timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            raise self._busy() from None
        try:
            yield
        finally:
            self._slots.release()

    def _busy(self) -> UpstreamBusyError:
        return UpstreamBusyError(
            f"{self._provider} has as many requests as it may have", stage=Stage.WAITING
        )

    @asynccontextmanager
    async def _sent(self, call: Call, limits: _Limits) -> AsyncIterator[httpx.Response]:
        with self._naming("the first byte"), _until(min(limits.first_byte_s, limits.end_s)):
            request = self._client.build_request(
                "POST",
                call.url,
                headers=call.headers,
                content=call.content,
                timeout=self._timeout,
            )
            response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            # a cancelled caller must still close the connection, or the provider goes on
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _refused(self, response: httpx.Response, limits: _Limits) -> Answer:
        if response.status_code == 200:
            # the wrong kind of answer, perhaps an endless one: nothing in it is of use
            return Answer(200, response.headers, b"")
        return await self._whole(response, limits)

    async def _whole(self, response: httpx.Response, limits: _Limits) -> Answer:
        limit = MAX_BODY_BYTES if response.status_code == 200 else _MAX_ERROR_BYTES
        content = bytearray()
        async with _chunks(response) as chunks:
            while (chunk := await self._next_chunk(chunks, limits)) is not None:
                content += chunk
                if len(content) > limit:
                    raise UpstreamUnavailableError(
                        f"{self._provider} sent more than {limit} bytes",
                        status=response.status_code,
                    )
        return Answer(response.status_code, response.headers, bytes(content))

    async def _next_chunk(self, chunks: AsyncIterator[bytes], limits: _Limits) -> bytes | None:
        with self._naming("the rest"), _until(limits.next_byte_s()):
            return await anext(chunks, None)

    async def _next(self, reader: _EventReader) -> list[SseEvent] | None:
        with self._naming("the rest" if reader.started else "the first event"):
            return await reader.read()

    @contextmanager
    def _naming(self, awaited: str) -> Iterator[None]:
        """Turns what the network raises into our errors.

        Only the kind of failure is told: the libraries' own messages can quote a header.
        """
        try:
            yield
        except httpx.ConnectTimeout:
            raise UpstreamTimeoutError(
                f"{self._provider} did not accept a connection in time", stage=Stage.CONNECTING
            ) from None
        except httpx.ConnectError:
            raise UpstreamUnavailableError(
                f"{self._provider} could not be reached (ConnectError)", stage=Stage.CONNECTING
            ) from None
        except (TimeoutError, httpx.TimeoutException):
            raise UpstreamTimeoutError(
                f"{self._provider} took too long: waited for {awaited}"
            ) from None
        except SseTooLargeError as error:
            raise UpstreamUnavailableError(f"{self._provider} sent too much: {error}") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise UpstreamUnavailableError(
                f"{self._provider} could not be reached or broke off ({type(error).__name__})"
            ) from None


@dataclass(frozen=True, slots=True)
class _Limits:
    """When to give up on one answer, on the event loop's clock."""

    first_byte_s: float
    end_s: float
    idle_timeout_s: float

    def next_byte_s(self) -> float:
        return min(anyio.current_time() + self.idle_timeout_s, self.end_s)


class _EventReader:
    """Reads the events of one response. The first must come in time; after it, no silence may
    last longer than the limits say (comments are not silence), and all of it no longer than they
    say and no more than MAX_BODY_BYTES."""

    def __init__(self, chunks: AsyncIterator[bytes], limits: _Limits) -> None:
        self._chunks = chunks
        self._limits = limits
        self._parser = SseParser()
        self._n_bytes = 0
        self._ended = False
        self.started = False

    async def read(self) -> list[SseEvent] | None:
        """The next events, None at the end. Raises TimeoutError and SseTooLargeError."""
        events: list[SseEvent] = []
        while not events and not self._ended:
            events = await self._read_chunk()
        self.started = self.started or bool(events)
        return events or None

    async def _read_chunk(self) -> list[SseEvent]:
        limits = self._limits
        first_s = min(limits.first_byte_s, limits.end_s)
        with _until(limits.next_byte_s() if self.started else first_s):
            chunk = await anext(self._chunks, None)
        if chunk is None:
            self._ended = True
            return self._parser.flush()
        self._n_bytes += len(chunk)
        if self._n_bytes > MAX_BODY_BYTES:
            raise SseTooLargeError(f"a stream is larger than {MAX_BODY_BYTES} bytes")
        return self._parser.feed(chunk)


async def drain(events: AsyncGenerator[SseEvent, None]) -> None:
    """Reads past the last event to the end of the answer, so that the connection can be kept.

    A provider that leaves it open has its connection closed instead.
    """
    with anyio.move_on_after(_DRAIN_S):
        async for _ in events:
            pass


def content_type_of(headers: Mapping[str, str]) -> str:
    """The media type in lower case, without its parameters; empty where there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _chunks(response: httpx.Response) -> aclosing[AsyncGenerator[bytes, None]]:
    # closed by hand: a generator that is only dropped is closed some time later
    return aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_bytes()))


@contextmanager
def _until(deadline_s: float) -> Iterator[None]:
    with anyio.fail_after(max(0.0, deadline_s - anyio.current_time())):
        yield
