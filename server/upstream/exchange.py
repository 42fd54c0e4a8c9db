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
from server.upstream.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnavailableError

EVENT_STREAM: Final = "text/event-stream"
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
# What an error answer may hold; it is only read for its reason.
_MAX_ERROR_BYTES: Final = 1024 * 1024
# How long to wait, after the last event, for the end that lets the connection be used again.
_DRAIN_S: Final = 0.1
_WRITE_TIMEOUT_S: Final = 30.0


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
    """Sends calls to one provider, at most max_concurrency at a time."""

    def __init__(
        self,
        provider: str,
        client: httpx.AsyncClient,
        *,
        connect_timeout_s: float,
        first_byte_timeout_s: float,
        idle_timeout_s: float,
        max_concurrency: int,
    ) -> None:
        self._provider = provider
        self._client = client
        # only these two are httpx's to time: it does not know a first byte from a later one
        self._timeout = httpx.Timeout(
            connect=connect_timeout_s, write=_WRITE_TIMEOUT_S, read=None, pool=None
        )
        self._first_byte_timeout_s = first_byte_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._slots = anyio.Semaphore(max_concurrency)

    async def post(self, call: Call) -> Answer:
        """The whole answer, whatever its status.

        Raises UpstreamTimeoutError and UpstreamUnavailableError.
        """
        async with self._slot(), self._sent(call, self._deadline_s()) as response:
            return await self._whole(response)

    async def events(
        self, call: Call, refusal: Callable[[Answer], UpstreamError]
    ) -> AsyncGenerator[SseEvent, None]:
        """The events of the answer, until its end or until the generator is closed.

        refusal: what to raise for an answer that is no event stream. Raises as `post` does. The
        first byte's deadline ends with the first event, so keep-alives before it do not stretch
        it.
        """
        deadline_s = self._deadline_s()
        async with self._slot(), self._sent(call, deadline_s) as response:
            if response.status_code != 200 or content_type_of(response.headers) != EVENT_STREAM:
                raise refusal(await self._refused(response))
            async with _chunks(response) as chunks:
                reader = _EventReader(chunks, deadline_s, self._idle_timeout_s)
                while (batch := await self._next(reader)) is not None:
                    for event in batch:
                        yield event

    async def close(self) -> None:
        """Closes the client and with it every connection."""
        await self._client.aclose()

    def _deadline_s(self) -> float:
        return anyio.current_time() + self._first_byte_timeout_s

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        with self._naming("a free connection"), anyio.fail_after(self._first_byte_timeout_s):
            await self._slots.acquire()
        try:
            yield
        finally:
            self._slots.release()

    @asynccontextmanager
    async def _sent(self, call: Call, deadline_s: float) -> AsyncIterator[httpx.Response]:
        with self._naming("the first byte"), _until(deadline_s):
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

    async def _refused(self, response: httpx.Response) -> Answer:
        if response.status_code == 200:
            # the wrong kind of answer, perhaps an endless one: nothing in it is of use
            return Answer(200, response.headers, b"")
        return await self._whole(response)

    async def _whole(self, response: httpx.Response) -> Answer:
        limit = MAX_BODY_BYTES if response.status_code == 200 else _MAX_ERROR_BYTES
        content = bytearray()
        async with _chunks(response) as chunks:
            while (chunk := await self._next_chunk(chunks)) is not None:
                content += chunk
                if len(content) > limit:
                    raise UpstreamUnavailableError(
                        f"{self._provider} sent more than {limit} bytes",
                        status=response.status_code,
                    )
        return Answer(response.status_code, response.headers, bytes(content))

    async def _next_chunk(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        with self._naming("the next byte"), anyio.fail_after(self._idle_timeout_s):
            return await anext(chunks, None)

    async def _next(self, reader: _EventReader) -> list[SseEvent] | None:
        with self._naming("the next byte" if reader.started else "the first event"):
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
                f"{self._provider} did not accept a connection in time"
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


class _EventReader:
    """Reads the events of one response. The first must come before deadline_s; after it, no
    silence may last longer than idle_timeout_s (comments are not silence)."""

    def __init__(
        self, chunks: AsyncIterator[bytes], deadline_s: float, idle_timeout_s: float
    ) -> None:
        self._chunks = chunks
        self._deadline_s = deadline_s
        self._idle_timeout_s = idle_timeout_s
        self._parser = SseParser()
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
        limit_s = anyio.current_time() + self._idle_timeout_s
        with _until(limit_s if self.started else self._deadline_s):
            chunk = await anext(self._chunks, None)
        if chunk is not None:
            return self._parser.feed(chunk)
        self._ended = True
        return self._parser.flush()


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
