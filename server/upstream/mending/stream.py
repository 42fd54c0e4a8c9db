"""Repairs the chunks of a streamed chat completion where they need it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import orjson

from server.upstream.errors import UpstreamError, UpstreamUnavailableError, error_within
from server.upstream.mending.calls import StreamedCalls
from server.upstream.mending.names import ToolNames
from server.upstream.mending.words import (
    FAILED,
    PLAIN_FINISHES,
    PLAIN_TEXTS,
    finish_reason,
    finish_word,
    in_one_form,
    is_plain,
    is_plain_finish,
)
from server.wire.sse import SseEvent

Chunk = dict[str, Any]
_SAID = ("content", "reasoning_content", "reasoning", "refusal")


class ChatStream:
    """Repairs one streamed answer, and checks whether it has ended properly, with a finish reason
    for every choice that has begun. names: those of the request's tools."""

    def __init__(self, provider: str, names: ToolNames | None = None) -> None:
        self._provider = provider
        self._names = names
        self._ended: dict[int | None, bool] = {}
        self._mender: _Mender | None = None
        # Choices whose end was passed on before anything had to be repaired.
        self._gone_by: frozenset[int | None] = frozenset()

    @property
    def is_ended(self) -> bool:
        """Whether every choice that has begun has a finish reason."""
        return bool(self._ended) and all(self._ended.values())

    def take(self, event: SseEvent) -> list[SseEvent] | None:
        """The events to be sent for one event; None: the event as it is. Raises UpstreamError for
        an answer that has failed."""
        parsed = event.parsed
        choices = None if parsed is None else parsed.get("choices")
        if type(choices) is list and len(choices) == 1 and self._goes_on(choices[0]):
            return None
        odd = self._mender is not None or type(choices) is not list
        ended = self._ended
        for choice in choices if type(choices) is list else ():
            if type(choice) is not dict:
                odd = True
                continue
            given, reason, delta = choice.get("index"), choice.get("finish_reason"), None
            index = given if type(given) is int else None
            if reason is not None:
                ended[index] = True
                odd = odd or type(reason) is not str or reason not in PLAIN_FINISHES
            elif index not in ended:
                ended[index] = False
            delta = choice.get("delta")
            if (
                type(delta) is not dict
                or type(index) is not int
                or type(delta.get("content")) not in PLAIN_TEXTS
                or delta.get("tool_calls")
                or "thinking" in delta
                or type(delta.get("reasoning")) not in PLAIN_TEXTS
                or type(delta.get("reasoning_content")) not in PLAIN_TEXTS
            ):
                odd = True
        return self._mend(event) if odd else None

    def _goes_on(self, choice: object) -> bool:
        """Whether a choice that has begun brings a piece of text and nothing else, as nearly all
        do."""
        if self._mender is not None or type(choice) is not dict:
            return False
        index, delta = choice.get("index"), choice.get("delta")
        return (
            type(index) is int
            and index in self._ended
            and type(delta) is dict
            and len(delta) == 1
            and type(delta.get("content")) is str
            and choice.get("finish_reason") is None
        )

    def end(self) -> list[SseEvent]:
        """The remaining events when the provider sends no more."""
        return [] if self._mender is None else list(self._mender.release())

    @property
    def failure(self) -> UpstreamError | None:
        """Why the finished answer is a failure; None where it is not."""
        return None if self._mender is None else self._mender.failure

    def _mend(self, event: SseEvent) -> list[SseEvent]:
        if self._mender is None:
            self._mender = _Mender(self._provider, self._names)
            ending = [index for index, reason in _reasons(event) if reason is not None]
            self._gone_by = frozenset(n for n, e in self._ended.items() if e and n not in ending)
        sent = self._mender.mend(event)
        if self._mender.has_calls:
            for one in sent:
                one.in_call = True
        # The finish reason as it was understood: an empty reason is none.
        self._ended = {n: e for n, e in self._ended.items() if type(n) is int}
        known = self._mender.choices.items()
        self._ended |= {n: c.word is not None or n in self._gone_by for n, c in known}
        return sent


def _reasons(event: SseEvent) -> Iterator[tuple[object, object]]:
    """The index and the finish reason of each choice."""
    choices = (event.parsed or {}).get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            yield choice.get("index"), choice.get("finish_reason")


async def mended(
    chunks: AsyncGenerator[SseEvent, None], provider: str
) -> AsyncGenerator[list[SseEvent], None]:
    """As `mended_batches`, for chunks that arrive one at a time."""
    async with aclosing(mended_batches(_singly(chunks), provider)) as batches:
        async for batch in batches:
            yield batch


async def mended_batches(
    batches: AsyncGenerator[list[SseEvent], None], provider: str
) -> AsyncGenerator[list[SseEvent], None]:
    """A whole stream of chunks, repaired; no batch is empty. Raises UpstreamError."""
    stream = ChatStream(provider)
    async with aclosing(batches):
        async for batch in batches:
            out: list[SseEvent] = []
            for chunk in batch:
                taken = stream.take(chunk)
                out += (chunk,) if taken is None else taken
            if out:
                yield out
    last = stream.end()
    if last:
        yield last
    if stream.failure is not None:
        raise stream.failure
    if not stream.is_ended:
        raise unfinished(provider)


async def _singly(
    chunks: AsyncGenerator[SseEvent, None],
) -> AsyncGenerator[list[SseEvent], None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            yield [chunk]


def unfinished(provider: str) -> UpstreamError:
    """The error for a stream that ends before the answer does."""
    message = f"{provider} ended the stream before the answer was finished"
    return UpstreamUnavailableError(message, status=200)


class _Held:
    """The end of a choice, held until it is known that nothing more follows. event: the chunk as it
    arrived, where it holds nothing else."""

    def __init__(self, chunk: Chunk, choice: Chunk, event: SseEvent | None) -> None:
        self.chunk = chunk
        self.choice = choice
        self.event = event


class _Mender:
    """Repairs one answer. failure: the fault of an answer that has ended. It is raised at the very
    end, once its usage has been passed on."""

    def __init__(self, provider: str, names: ToolNames | None) -> None:
        self._names = names
        self.failure: UpstreamError | None = None
        self.choices: dict[int, _Choice] = {}
        self._held: dict[int, _Held] = {}
        self._provider = provider

    @property
    def has_calls(self) -> bool:
        """Whether a tool call has begun."""
        return any(not choice.ends_at_once for choice in self.choices.values())

    def mend(self, event: SseEvent) -> list[SseEvent]:
        """The events to be sent for one event. Raises UpstreamError for an answer that has
        failed."""
        chunk = event.parsed or {}
        if chunk.get("object") == "chat.completion":
            # A whole answer in place of a stream.
            chunk = {**chunk, "object": "chat.completion.chunk"}
        found = chunk.get("choices")
        choices = [c for c in found if isinstance(c, dict)] if isinstance(found, list) else []
        if not choices:
            last = event if found == [] else _event({**chunk, "choices": []})
            return [*self.release(), last]
        sent: list[Chunk] = []
        held = list(self._held.values())
        for number, choice in enumerate(choices):
            now = self._choice(chunk, number, choice, event if len(choices) == 1 else None)
            sent += [] if now is None else [now]
        # An end that is held back takes the usage with it.
        holds = list(self._held.values()) != held
        if len(sent) == len(found or ()) and all(map(_same, sent, choices)):
            return [event]
        rest = {name: value for name, value in chunk.items() if not (holds and name == "usage")}
        return [_event({**rest, "choices": sent})] if sent else []

    def release(self) -> Iterator[SseEvent]:
        """The ends that were held back."""
        held, self._held = self._held, {}
        for index, end in held.items():
            known = self.choices[index]
            if known.fault is not None:
                self._fail(known.fault, end.chunk)
                continue
            last = known.last(end.choice)
            if len(last) == 1 and last[0] is end.choice and end.event is not None:
                yield end.event
                continue
            before = {name: value for name, value in end.chunk.items() if name != "usage"}
            for choice in last:
                head = end.chunk if choice is last[-1] else before
                yield _event({**head, "choices": [choice]})

    def _choice(
        self, chunk: Chunk, number: int, choice: Chunk, event: SseEvent | None
    ) -> Chunk | None:
        """The part of a choice that is sent now."""
        given = choice.get("index")
        index = given if isinstance(given, int) else number
        known = self.choices.setdefault(index, _Choice(self._names))
        word = finish_word(choice.get("finish_reason"))
        if word in FAILED:
            self._raise_failed(choice, chunk)
        delta = known.delta(choice)
        if "delta" not in choice and "message" in choice:
            choice = {name: value for name, value in choice.items() if name != "message"}
        if given != index:
            choice, event = {**choice, "index": index}, None
        if word is None and choice.get("finish_reason") is not None:
            choice = {**choice, "finish_reason": None}
        if word is not None:
            known.word = word
            if not known.ends_at_once or not is_plain_finish(choice.get("finish_reason")):
                return self._hold(index, chunk, choice, delta, event)
        return choice if delta is choice.get("delta") else {**choice, "delta": delta}

    def _hold(
        self, index: int, chunk: Chunk, choice: Chunk, delta: Chunk, event: SseEvent | None
    ) -> Chunk | None:
        earlier = self._held.get(index)
        if earlier is not None:
            chunk, event = {**earlier.chunk, **chunk}, None
        is_bare = delta is choice.get("delta") and not any(delta.values())
        end = choice if is_bare else {**choice, "delta": {}}
        self._held[index] = _Held(chunk, end, event if is_bare else None)
        return None if not delta else {**choice, "delta": delta, "finish_reason": None}

    def _raise_failed(self, choice: Chunk, chunk: Chunk) -> None:
        said = choice.get("error")
        error = error_within(self._provider, said if isinstance(said, dict) else {})
        error.reported = chunk
        raise error

    def _fail(self, fault: str, reported: Chunk) -> None:
        message = f"{self._provider} ended the answer with {fault}"
        self.failure = UpstreamUnavailableError(message, status=200)
        self.failure.reported = reported


class _Choice:
    """The state of one choice. word: its finish reason in the provider's own words."""

    def __init__(self, names: ToolNames | None) -> None:
        self.word: str | None = None
        self._calls = StreamedCalls(names)
        self._by_function = False
        # Text that arrived in the middle of a call, to be sent after it.
        self._waiting: Chunk = {}

    @property
    def ends_at_once(self) -> bool:
        """Whether nothing of it can need a repair at its end."""
        return not (self._calls or self._by_function)

    @property
    def fault(self) -> str | None:
        """Why the finished choice is a failure; None where it is not."""
        return None if self._is_cut else self._calls.fault

    def delta(self, choice: Chunk) -> Chunk:
        """The part of a choice's delta that is sent now; the same object where that is all of
        it."""
        given = choice.get("delta")
        if not isinstance(given, dict):
            message = choice.get("message")
            given = message if isinstance(message, dict) else {}
        said = given if is_plain(given) else in_one_form(given)
        self._by_function = self._by_function or bool(said.get("function_call"))
        if self._calls.is_within_one:
            said = self._without_waiting(said)
        if not said.get("tool_calls"):
            return said
        calls = self._calls.take(said["tool_calls"])
        if calls == said["tool_calls"]:
            return said
        rest = {name: value for name, value in said.items() if name != "tool_calls"}
        return {**rest, "tool_calls": calls} if calls else rest

    def last(self, choice: Chunk) -> list[Chunk]:
        """What is sent at the end of a choice; its finish reason comes last."""
        calls = self._calls.end(cut=self._is_cut)
        reason = finish_reason(
            self.word or "stop", called=bool(self._calls), by_function=self._by_function
        )
        unchanged = reason == choice.get("finish_reason") and not self._waiting
        end = choice if unchanged else {**choice, "finish_reason": reason}
        if self._waiting:
            end["delta"] = {**end["delta"], **self._waiting}
        if not calls:
            return [end]
        return [{**choice, "delta": {"tool_calls": calls}, "finish_reason": None}, end]

    @property
    def _is_cut(self) -> bool:
        reason = finish_reason(self.word or "stop", called=True)
        return reason in ("length", "content_filter")

    def _without_waiting(self, said: Chunk) -> Chunk:
        texts = {name: said[name] for name in _SAID if isinstance(said.get(name), str)}
        if not any(texts.values()):
            return said
        for name, text in texts.items():
            self._waiting[name] = self._waiting.get(name, "") + text
        return {name: value for name, value in said.items() if name not in texts}


def _same(one: Chunk, other: Chunk) -> bool:
    return one is other


def _event(chunk: Chunk) -> SseEvent:
    return SseEvent(orjson.dumps(chunk), parsed=chunk)
