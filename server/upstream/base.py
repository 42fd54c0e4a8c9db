"""The interface of every provider: one protocol, for whole and for streamed answers."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import anyio

from router.record import record
from server.upstream.errors import Progress, UpstreamError, UpstreamStreamBrokenError
from server.upstream.fields import Fields
from server.wire.sse import SseEvent
from server.wire.surface import Surface


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a provider can express a request.

    reason: why it cannot; None where it can. left_out: fields that are not sent to it.
    thinking_tokens: the part of the output cap that the model uses for thinking before it answers.
    body: the part of the body that is sent; None: all of it. least_output_tokens: a lower output
    cap is raised to this. effort: the effort that is sent, where it is not left to the caller; None
    also where it cannot be sent.
    """

    reason: str | None = None
    left_out: tuple[str, ...] = ()
    thinking_tokens: int = 0
    body: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    least_output_tokens: int = 0
    effort: str | None = None


@record(frozen=True, slots=True)
class UpstreamRequest:
    """A body to be sent, in the surface's form: `model` is the provider's own name for the model,
    and routing fields are removed. headers: the surface's own headers, sent along. progress:
    updated while the request is sent. The repr hides the body: prompts stay out of logs."""

    body: Mapping[str, Any] = field(repr=False)
    stream: bool
    upstream_model: str
    surface: Surface = Surface.CHAT
    headers: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress, compare=False)


@record(frozen=True, slots=True)
class UpstreamReply:
    """A whole answer: the parsed object of the surface, such as a `chat.completion`. is_large: it
    must not be processed on the event loop."""

    body: dict[str, Any] = field(repr=False)
    status: int = 200
    is_large: bool = False

    @property
    def model(self) -> str | None:
        """The provider's name for the model that answered, where it reports one."""
        said = self.body.get("model")
        return said if isinstance(said, str) and said else _model_in(self.body)


class StreamMeter(Protocol):
    """Observes a stream, before its reader does."""

    def saw(self, events: Sequence[SseEvent]) -> None:
        """Called for the next events."""

    def ended(self) -> None:
        """Called at the stream's proper end."""

    def broke(self, error: UpstreamError) -> None:
        """Called when the stream fails."""

    def closed(self) -> None:
        """Called when the stream is closed, whether or not it had ended; perhaps more than once."""


class UpstreamStream:
    """The events of a streamed answer, the first of which has already arrived.

    Iterating yields each event's payload as the provider sent it; every one is a JSON object
    (`event.parsed`). `[DONE]` is not yielded: it ends the iteration. A stream that ends too early
    or is malformed raises UpstreamStreamBrokenError.

    Closing it, or cancelling the task that iterates, closes the connection to the provider, so that
    an unread answer is not generated and billed to its end.

    usage_so_far: the usage that the provider has reported before the end, which a translated stream
    passes on only at its end; in the form of chat completions, None where nothing was reported.
    """

    def __init__(
        self, first: Sequence[SseEvent], rest: AsyncGenerator[Sequence[SseEvent], None]
    ) -> None:
        self._ready = deque(first)
        self._rest = rest
        # Called when the stream breaks.
        self.on_break: Callable[[], None] | None = None
        self.meter: StreamMeter | None = None
        self.usage_so_far: Callable[[], Mapping[str, Any] | None] | None = None

    @classmethod
    async def start(
        cls,
        events: AsyncGenerator[SseEvent, None],
        has_begun: Callable[[Mapping[str, Any] | None], bool] | None = None,
    ) -> UpstreamStream:
        """Waits for the first event; the generator's exceptions before it are raised here.

        has_begun: whether an event has content; events before the first one with content are waited
        for as well. The generator must not end without an event: it raises an UpstreamError
        instead.
        """
        return await cls.start_batches(_singly(events), has_begun)

    @classmethod
    async def start_batches(
        cls,
        batches: AsyncGenerator[Sequence[SseEvent], None],
        has_begun: Callable[[Mapping[str, Any] | None], bool] | None = None,
        failure: Callable[[Sequence[SseEvent]], UpstreamError | None] | None = None,
    ) -> UpstreamStream:
        """As `start`, for events that arrive several at a time; no batch may be empty. failure:
        the error for all events of a stream that has ended without content, None where it is an
        answer."""
        first = await anext(batches)
        if has_begun is None or any(has_begun(event.parsed) for event in first):
            return cls(first, batches)
        held = list(first)
        async for more in batches:
            held.extend(more)
            if any(has_begun(event.parsed) for event in more):
                return cls(held, batches)
        failed = None if failure is None else failure(held)
        if failed is not None:
            raise failed
        return cls(held, batches)

    @property
    def model(self) -> str | None:
        """The provider's name for the model that answered, where it reports one; also by events
        that have arrived and are not yet read."""
        for event in self._ready:
            model = None if event.parsed is None else _model_in(event.parsed)
            if model is not None:
                return model
        return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SseEvent:
        if not self._ready:
            await self._fetch()
        event = self._ready.popleft()
        if self.meter is not None:
            self.meter.saw((event,))
        return event

    async def read(self) -> Sequence[SseEvent]:
        """All events that have arrived; waits for the next one where there is none.

        Returns an empty sequence at the end. Raises UpstreamStreamBrokenError.
        """
        if not self._ready:
            try:
                await self._fetch()
            except StopAsyncIteration:
                return ()
        events, self._ready = self._ready, deque()
        if self.meter is not None:
            self.meter.saw(events)
        return events

    async def _fetch(self) -> None:
        try:
            self._ready.extend(await anext(self._rest))
        except StopAsyncIteration:
            if self.meter is not None:
                self.meter.ended()
            raise
        except UpstreamError as error:
            raise self._broken(error) from error

    def _broken(self, error: UpstreamError) -> UpstreamStreamBrokenError:
        """Converts an error: it comes too late for another model to answer instead."""
        if self.on_break is not None:
            self.on_break()
        broken = UpstreamStreamBrokenError(
            error.message,
            status=error.status,
            retry_after_s=error.retry_after_s,
            said=error.said,
        )
        broken.reported = error.reported
        if self.meter is not None:
            self.meter.broke(broken)
        return broken

    async def aclose(self) -> None:
        """Closes the connection to the provider; safe to call twice."""
        self._ready.clear()
        if self.meter is not None:
            self.meter.closed()
        # The web framework cancels this task when the caller hangs up: the closing itself must
        # finish.
        with anyio.CancelScope(shield=True):
            await self._rest.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _model_in(said: Mapping[str, Any]) -> str | None:
    """The model named in an answer or an event, on whichever surface."""
    for holder in (said, said.get("response"), said.get("message")):
        model = holder.get("model") if isinstance(holder, dict) else None
        if isinstance(model, str) and model:
            return model
    return None


async def _singly(
    events: AsyncGenerator[SseEvent, None],
) -> AsyncGenerator[Sequence[SseEvent], None]:
    async with aclosing(events):
        async for event in events:
            yield (event,)


class Upstream(Protocol):
    """A provider. One instance serves many requests at once, from one event loop."""

    @property
    def name(self) -> str:
        """The provider's name in the configuration."""

    @property
    def bills(self) -> bool:
        """Whether a cost that its answers state is what it charges."""

    @property
    def tool_names(self) -> re.Pattern[str]:
        """A pattern for the full names of tools that it accepts."""

    def speaks(self, surface: Surface) -> bool:
        """Whether a request of this surface can be sent as it is."""

    def fields(self, surface: Surface, *, bounded: bool) -> Fields | None:
        """The fields of this surface's bodies that may be sent; None: all of them.

        bounded: whether a budget, a window or a key limits what the request may cost or choose.
        Only for surfaces that the provider speaks itself.
        """

    def fit(self, body: Mapping[str, Any], model: str, *, bounded: bool) -> Fit:
        """Whether a chat-completions body can be expressed, and what of it will be sent. model: the
        provider's name for the model."""

    def kin(self, body: Mapping[str, Any], model: str) -> Hashable:
        """A key that is equal for models with the same fit for this body. Finding out the fit can
        take as long as translating the body, and a provider has many models."""

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        """Sends the request and returns the whole answer. Raises a leaf of UpstreamError."""

    async def open_stream(self, request: UpstreamRequest) -> UpstreamStream:
        """Returns once the first event has arrived, so that a failure before the first byte raises
        (a leaf of UpstreamError) and the caller can turn to another model.

        The stream has its usage chunk whether or not the body's stream_options ask for one: without
        it the answer has no cost. The gateway decides whether the caller sees it.
        """

    async def close(self) -> None:
        """Closes the connections. Open streams are cut off."""
