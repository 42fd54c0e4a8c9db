"""Converts a stream to the form of the caller's surface, whichever API the provider speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

import orjson

from router.catalog import ModelCard
from server.http.anthropic_error import error_body
from server.surfaces.messages.reply import MessageEvents
from server.surfaces.responses.stream import ResponseStream
from server.wire.chat_shape import COMPLETION
from server.wire.shapes import fitted, word
from server.wire.sse import DONE, SseEvent, encode_event, error_event
from server.wire.surface import Surface
from server.wire.usage import ends_chat

Costing = Callable[[], float | None]
_LAST_RESPONSES: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})


class Presenter(Protocol):
    """Encodes one stream. ended: the complete response object at the end, on the surface that has
    one."""

    ended: dict[str, Any] | None

    def begin(self) -> Iterator[bytes]:
        """The bytes before the first event."""

    def event(self, event: SseEvent) -> Iterable[bytes]:
        """The bytes for one event of the provider's."""

    def end(self) -> Iterator[bytes]:
        """The bytes after the last event."""

    def failure(self, error: Mapping[str, Any]) -> bytes:
        """The event that ends a broken stream. error: the object inside OpenAI's envelope."""


class ChunkPresenter:
    """Chat completions and completions: changes only what must change in a chunk and passes on the
    other bytes. cost: USD of the answer so far; explanation: sent with the first chunk."""

    def __init__(
        self,
        card: ModelCard,
        cost: Costing,
        *,
        include_usage: bool,
        explanation: dict[str, Any] | None,
    ) -> None:
        self.ended: dict[str, Any] | None = None
        self._cost = cost
        self._include_usage = include_usage
        self._explanation = explanation
        self._named = b'"model":' + orjson.dumps(card.name)
        self._name = card.name
        # Usage that may not be the last; it is sent once.
        self._waiting: dict[str, Any] | None = None
        self._has_told = False

    def begin(self) -> Iterator[bytes]:
        """Nothing is sent before the first event."""
        yield from ()

    def event(self, event: SseEvent) -> Iterable[bytes]:
        """The bytes for one event of the provider's."""
        parsed = event.parsed
        if parsed is None or self._explanation is not None or "usage" in parsed:
            return self._with_usage(event.json())
        if parsed.get("model") == self._name:
            payload = event.data
        else:
            payload = self._renamed(event.data, parsed)
        return (encode_event(payload),)

    def end(self) -> Iterator[bytes]:
        """The bytes after the last event."""
        if self._waiting is not None and not self._has_told:
            yield self._told(self._waiting)
        yield DONE

    def failure(self, error: Mapping[str, Any]) -> bytes:
        """The event that ends a broken stream. error: the object inside OpenAI's envelope."""
        return error_event(error)

    def _renamed(self, data: bytes, parsed: Mapping[str, Any]) -> bytes:
        """The chunk with our name for the model. Where the provider's name occurs once it can be
        replaced in the bytes: within a string its quotes would be escaped."""
        said = parsed.get("model")
        if isinstance(said, str) and data.count(b'"model"') == 1:
            theirs = b'"model":"%b"' % said.encode()
            if theirs in data:
                return data.replace(theirs, self._named)
        return orjson.dumps({**parsed, "model": self._name})

    def _with_usage(self, chunk: dict[str, Any]) -> Iterator[bytes]:
        """The chunk with our name and the explanation, where it belongs into it, and the usage with
        the cost in a chunk of its own."""
        chunk["model"] = self._name
        if self._explanation is not None:
            chunk["p2l"], self._explanation = self._explanation, None
        usage = chunk.get("usage")
        if not self._include_usage:
            chunk.pop("usage", None)
        elif isinstance(usage, dict):
            # Some report it with every chunk, or twice: clients add up what they are sent.
            self._waiting = {**chunk, "choices": []}
            chunk["usage"] = None
        if usage is None or chunk.get("choices"):
            yield encode_event(orjson.dumps(chunk))
        if (
            self._waiting is not None
            and not self._has_told
            and ends_chat(chunk.get("choices"), usage)
        ):
            yield self._told(self._waiting)

    def _told(self, chunk: dict[str, Any]) -> bytes:
        self._has_told = True
        usage = with_cost(chunk["usage"], self._cost())
        return encode_event(orjson.dumps({**chunk, "usage": usage}))


class _TranslatingPresenter:
    """Converts a provider's chat completions to another surface."""

    def __init__(self, stream: ResponseStream | MessageEvents, cost: Costing) -> None:
        self.ended: dict[str, Any] | None = None
        self._stream = stream
        self._cost = cost

    def begin(self) -> Iterator[bytes]:
        """The events before the first event of the provider's."""
        yield from map(named_event, self._stream.begin())

    def event(self, event: SseEvent) -> Iterator[bytes]:
        """The bytes for one event of the provider's."""
        chunk = fitted(event.json(), COMPLETION)
        yield from map(named_event, self._stream.chunk(_costed(chunk, self._cost)))

    def end(self) -> Iterator[bytes]:
        """The bytes after the last event."""
        yield from map(named_event, self._stream.end())


class ResponsesPresenter(_TranslatingPresenter):
    """Converts a provider's chat completions to the Responses API."""

    def __init__(self, stream: ResponseStream, cost: Costing) -> None:
        super().__init__(stream, cost)
        self._responses = stream

    def end(self) -> Iterator[bytes]:
        """The bytes after the last event."""
        yield from super().end()
        self.ended = self._responses.response

    def failure(self, error: Mapping[str, Any]) -> bytes:
        """The event that ends a broken stream. error: the object inside OpenAI's envelope."""
        return named_event(self._responses.error(error["code"], error["message"]))


class MessagesPresenter(_TranslatingPresenter):
    """Converts a provider's chat completions to the Messages API."""

    def __init__(self, stream: MessageEvents, cost: Costing, request_id: str) -> None:
        super().__init__(stream, cost)
        self._request_id = request_id

    def failure(self, error: Mapping[str, Any]) -> bytes:
        """The event that ends a broken stream. error: the object inside OpenAI's envelope."""
        return named_event(error_body(500, error, self._request_id))


class NativePresenter:
    """Events of a provider that has the caller's surface itself: passed on with our name for the
    model and the cost. surface: RESPONSES or MESSAGES. marks: the fields of a response that
    describe its place here."""

    def __init__(
        self,
        card: ModelCard,
        cost: Costing,
        surface: Surface,
        request_id: str,
        marks: Mapping[str, Any],
    ) -> None:
        self.ended: dict[str, Any] | None = None
        self._marks = marks
        self._card = card
        self._cost = cost
        self._surface = surface
        self._request_id = request_id
        self._n_events = 0

    def begin(self) -> Iterator[bytes]:
        """Nothing is sent before the first event."""
        yield from ()

    def event(self, event: SseEvent) -> Iterator[bytes]:
        """The bytes for one event of the provider's."""
        parsed = event.json()
        self._n_events += 1
        if not self._changes(parsed):
            yield encode_event(event.data, event.name)
        else:
            yield named_event(parsed)

    def end(self) -> Iterator[bytes]:
        """Nothing is sent: the provider's own last event has been passed on."""
        yield from ()

    def failure(self, error: Mapping[str, Any]) -> bytes:
        """The event that ends a broken stream. error: the object inside OpenAI's envelope."""
        if self._surface is Surface.MESSAGES:
            return named_event(error_body(500, error, self._request_id))
        told = {"code": error["code"], "message": error["message"], "param": None}
        return named_event({"type": "error", **told, "sequence_number": self._n_events})

    def _changes(self, event: dict[str, Any]) -> bool:
        for holder in ("response", "message"):
            if isinstance(event.get(holder), dict):
                event[holder] = {**event[holder], "model": self._card.name, **self._marks}
                if word(event.get("type")) in _LAST_RESPONSES:
                    self._add_cost(event[holder])
                    self.ended = event[holder]
                return True
        if event.get("type") == "message_delta" and isinstance(event.get("usage"), dict):
            self._add_cost(event)
            return True
        return False

    def _add_cost(self, holder: dict[str, Any]) -> None:
        if isinstance(holder.get("usage"), dict):
            holder["usage"] = with_cost(holder["usage"], self._cost())


def with_cost(usage: Mapping[str, Any], cost_usd: float | None) -> dict[str, Any]:
    """The usage with its cost, where that is known. A cost that the provider states is removed,
    since it is not what is booked."""
    if cost_usd is None:
        return {name: value for name, value in usage.items() if name != "cost"}
    return {**usage, "cost": cost_usd}


def _costed(chunk: dict[str, Any], cost: Costing) -> dict[str, Any]:
    usage = chunk.get("usage")
    return chunk | {"usage": with_cost(usage, cost())} if isinstance(usage, dict) else chunk


def named_event(event: Mapping[str, Any]) -> bytes:
    """Encodes an event under the name of its type."""
    return encode_event(orjson.dumps(event), word(event.get("type")).encode())
