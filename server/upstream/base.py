"""What every provider looks like to the gateway: one protocol, two ways to ask."""

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
    """Whether a provider can express a request. reason: why not, None where it can.
    left_out: fields that it is not sent. thinking_tokens: what of the output cap the model thinks
    with before it answers. body: what of the body goes out, None where all of it does.
    least_output_tokens: an output cap under it is sent as this many."""

    reason: str | None = None
    left_out: tuple[str, ...] = ()
    thinking_tokens: int = 0
    body: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    least_output_tokens: int = 0


@record(frozen=True, slots=True)
class UpstreamRequest:
    """A body as it goes out, in the surface's form: `model` is the provider's own name for the
    model, routing fields are gone. headers: the surface's own that go along. progress: kept current
    while the request is sent. The repr hides the body: prompts stay out of logs."""

    body: Mapping[str, Any] = field(repr=False)
    stream: bool
    upstream_model: str
    surface: Surface = Surface.CHAT
    headers: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress, compare=False)


@record(frozen=True, slots=True)
class UpstreamReply:
    """A whole answer: the parsed object of the surface asked for, such as a `chat.completion`.
    is_large: nothing that goes through all of it may be done on the event loop."""

    body: dict[str, Any] = field(repr=False)
    status: int = 200
    is_large: bool = False

    @property
    def model(self) -> str | None:
        """What the provider calls the model that answered, where it says so."""
        said = self.body.get("model")
        return said if isinstance(said, str) and said else _model_in(self.body)


class StreamMeter(Protocol):
    """What is told of a stream, before its reader hears of it."""

    def saw(self, event: SseEvent) -> None:
        """An event has come."""

    def ended(self) -> None:
        """It came to its proper end."""

    def broke(self, error: UpstreamError) -> None:
        """It failed."""

    def closed(self) -> None:
        """It was closed, whether or not it had ended; perhaps more than once."""


class UpstreamStream:
    """The events of a streamed answer, the first of which has already arrived.

    Iterating yields each event's payload as the provider sent it; every one is a JSON object
    (`event.parsed`). `[DONE]` is not yielded: it ends the iteration. A stream that ends too
    early or turns to garbage raises UpstreamStreamBrokenError.

    Closing it, or cancelling the task that iterates, closes the connection to the provider, so
    that an answer nobody reads any more is not generated and billed to its end.

    usage_so_far: what the provider has said of the usage before the end, which a translated stream
    tells at its end alone; in the form of chat completions, None where nothing was said.
    """

    def __init__(
        self, first: Sequence[SseEvent], rest: AsyncGenerator[Sequence[SseEvent], None]
    ) -> None:
        self._ready = deque(first)
        self._rest = rest
        # told when the stream breaks
        self.on_break: Callable[[], None] | None = None
        self.meter: StreamMeter | None = None
        self.usage_so_far: Callable[[], Mapping[str, Any] | None] | None = None

    @classmethod
    async def start(
        cls,
        events: AsyncGenerator[SseEvent, None],
        has_begun: Callable[[Mapping[str, Any] | None], bool] | None = None,
    ) -> UpstreamStream:
        """Waits for the first event; what the generator raises before it goes to the caller.

        has_begun: whether an event says anything; those before the first that does are waited for
        as well. The generator must not end without an event: it raises an UpstreamError instead.
        """
        return await cls.start_batches(_singly(events), has_begun)

    @classmethod
    async def start_batches(
        cls,
        batches: AsyncGenerator[Sequence[SseEvent], None],
        has_begun: Callable[[Mapping[str, Any] | None], bool] | None = None,
    ) -> UpstreamStream:
        """As `start`, of events that come several at a time, none of them empty."""
        first = await anext(batches)
        if has_begun is None or any(has_begun(event.parsed) for event in first):
            return cls(first, batches)
        held = list(first)
        async for more in batches:
            held.extend(more)
            if any(has_begun(event.parsed) for event in more):
                break
        return cls(held, batches)

    @property
    def model(self) -> str | None:
        """What the provider calls the model that answered, where it says so. By the events that
        have come and are not read yet."""
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
            self.meter.saw(event)
        return event

    async def read(self) -> Sequence[SseEvent]:
        """The events that have come, all of them; waits for the next where there is none.

        At the end it is empty. Raises UpstreamStreamBrokenError.
        """
        if not self._ready:
            try:
                await self._fetch()
            except StopAsyncIteration:
                return ()
        events, self._ready = self._ready, deque()
        if self.meter is not None:
            for event in events:
                self.meter.saw(event)
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
        """Whatever it was, it now comes too late for another model to answer instead."""
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
        # The web framework cancels us when the caller hangs up: the closing itself must finish.
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
    """In an answer or an event of one, on whichever surface."""
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
        """The names of tools that it takes, in full."""

    def speaks(self, surface: Surface) -> bool:
        """Whether a request of this surface can be sent as it is."""

    def fields(self, surface: Surface, *, bounded: bool) -> Fields | None:
        """What of a body of the surface, which it speaks itself, may go out; None: all of it.

        bounded: a budget, a window or a key bounds what the request may cost or choose.
        """

    def fit(self, body: Mapping[str, Any], model: str, *, bounded: bool) -> Fit:
        """Whether a chat-completions body can be expressed, and what of it goes out. model: the
        provider's name for it."""

    def kin(self, body: Mapping[str, Any], model: str) -> Hashable:
        """Equal for models that this body fits alike: to find out can take as long as to
        translate the body, and a provider has many models."""

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        """The whole answer. Raises a leaf of UpstreamError."""

    async def open_stream(self, request: UpstreamRequest) -> UpstreamStream:
        """Returns once the first event has arrived, so that a failure before the first byte
        raises (a leaf of UpstreamError) and the caller can turn to another model.

        The stream has its usage chunk whether or not the body's stream_options ask for one:
        without it the answer has no cost. Whether the caller sees it is the gateway's affair.
        """

    async def close(self) -> None:
        """Gives back connections. Streams still open are cut."""
