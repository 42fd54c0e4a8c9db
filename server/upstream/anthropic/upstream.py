"""The upstream for Anthropic: chat completions are translated, Messages bodies are sent as they
are."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import httpx
import orjson

from server.config.secret import Secret
from server.model_facts import Known, ModelFacts, facts_of
from server.upstream.addresses import Auth, key_headers, messages_url
from server.upstream.anthropic.breakpoints import with_breakpoints, with_few_marks
from server.upstream.anthropic.native import (
    Own,
    with_taken_head,
    with_taken_history,
    without_lost_thinking,
)
from server.upstream.anthropic.reply import to_completion
from server.upstream.anthropic.request import KNOWN, NAMED_USER, NATIVE, UNBOUNDED, to_messages
from server.upstream.anthropic.shapes import MESSAGE
from server.upstream.anthropic.stream import MessageStream
from server.upstream.anthropic.thinking import Thinking, least_thinking, thinking_of
from server.upstream.apart import message_events
from server.upstream.base import Fit, UpstreamReply, UpstreamRequest, UpstreamStream
from server.upstream.beginning import has_begun
from server.upstream.dialect import InexpressibleError, check_bounded, left_out
from server.upstream.emptiness import never_made
from server.upstream.errors import (
    UpstreamError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
    error_for_status,
    error_within,
    parse_retry_after_s,
)
from server.upstream.exchange import EVENT_STREAM, NO_STREAM, Answer, Call, Exchange, drain
from server.upstream.field_lists import BOUNDED_MESSAGES, MESSAGES, open_list
from server.upstream.fields import Fields
from server.upstream.joined import joined
from server.upstream.mending.blocks import MessageBlocks, mend_message
from server.upstream.mending.stream import mended
from server.upstream.mending.whole import mend_answer
from server.upstream.said import is_from_an_api, said_of
from server.upstream.signatures import Signatures, is_about_thoughts
from server.upstream.tool_names import ANTHROPIC_NAME
from server.upstream.wire import (
    envelope,
    headers_for,
    json_bytes,
    read_event,
    refusal_envelope,
    told,
    whole_object,
)
from server.wire.shapes import fitted
from server.wire.sse import SseEvent
from server.wire.surface import Surface

BASE_URL: Final = "https://api.anthropic.com"
_LISTED: Final = open_list(MESSAGES)
_VERSION: Final = "2023-06-01"
_REFUSED: Final = "invalid_request_error"
_SAID: Final = KNOWN | NATIVE | NAMED_USER
# The fields of a body that concern thinking.
_THOUGHT: Final = frozenset({"reasoning_effort", "thinking"})


class AnthropicUpstream:
    """A provider with Anthropic's API.

    base_url: see messages_url. auth: see key_headers. max_output_tokens: maps an upstream model to
    its limit, sent for callers who set none (the API requires one). known: the facts about a model
    by the provider's name. The other arguments are those of OpenAIUpstream.
    """

    bills = False
    tool_names = ANTHROPIC_NAME

    def __init__(
        self,
        name: str,
        *,
        api_key: Secret | None,
        exchange: Exchange,
        base_url: str = BASE_URL,
        auth: Auth | None = None,
        max_output_tokens: Mapping[str, int] | None = None,
        known: Known = facts_of,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._url = httpx.URL(messages_url(base_url))
        self._api_key = api_key
        self._headers = {
            "anthropic-version": _VERSION,
            **key_headers(name, "anthropic", base_url, api_key, auth),
        }
        self._signatures = Signatures(base_url, api_key)
        self._exchange = exchange
        self._max_output_tokens = max_output_tokens or {}
        self._known = known
        self._clock = clock

    @property
    def name(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"AnthropicUpstream({self._name!r})"

    def speaks(self, surface: Surface) -> bool:
        """Whether a request of this surface can be sent as it is."""
        return surface in (Surface.CHAT, Surface.MESSAGES)

    def fields(self, surface: Surface, *, bounded: bool) -> Fields | None:
        """The fields of this surface's bodies that may be sent; None: all of them."""
        if surface is Surface.CHAT:
            return None
        return BOUNDED_MESSAGES if bounded else _LISTED

    def fit(self, body: Mapping[str, Any], model: str, *, bounded: bool) -> Fit:
        """Whether a chat-completions body can be expressed, and what of it will be sent. model: the
        provider's name for the model."""
        try:
            sent = self._translated(body, model, _nobodys)
            if bounded:
                check_bounded(body, UNBOUNDED)
        except InexpressibleError as error:
            return Fit(f"its provider does not support {error}")
        return Fit(left_out=left_out(body, _SAID), thinking_tokens=least_thinking(body, sent))

    def kin(self, body: Mapping[str, Any], model: str) -> Hashable:
        """A key that is equal for models with the same fit for this body, which depends only on how
        they think and how much. Finding out the fit can take as long as translating the body."""
        if _THOUGHT.isdisjoint(body):
            return None
        return self._thinks(model), self._max_output_tokens.get(model)

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        """Sends the request and returns the whole answer."""
        heavy = self._exchange.heavy
        answer = await self._exchange.post(await self._prepared(request))
        if answer.status == 400 and is_about_thoughts(answer.content):
            # An answer without the earlier thoughts is better than no answer.
            answer = await self._exchange.post(await self._prepared(request, with_thoughts=False))
        if answer.status != 200:
            raise self._refusal(answer, request.upstream_model)
        if answer.content_type == EVENT_STREAM:
            join = partial(joined, self._name, Surface.MESSAGES, answer.content)
            message = await heavy.run_where(answer.is_large, join)
        else:
            message = await whole_object(heavy, answer)
        if message is None or not isinstance(message.get("content"), list):
            raise self._unavailable(
                "answered with something that is not a message of Anthropic's API"
            )
        message["content"] = [self._signatures.marked(block) for block in message["content"]]
        if request.surface is Surface.MESSAGES:
            return UpstreamReply(mend_message(message), is_large=answer.is_large)

        def translate() -> dict[str, Any]:
            said = fitted(message, MESSAGE)
            return mend_answer(self._name, to_completion(said, int(self._clock())))

        body = await heavy.run_where(answer.is_large, translate)
        return UpstreamReply(body, is_large=answer.is_large)

    async def open_stream(self, request: UpstreamRequest) -> UpstreamStream:
        """Returns once the first event has arrived, so that a failure before the first byte raises
        (a leaf of UpstreamError) and the caller can turn to another model."""
        if request.surface is Surface.MESSAGES:
            return await UpstreamStream.start(self._as_they_are(request), has_begun)
        translation = MessageStream(int(self._clock()))
        chunks = mended(self._chunks(request, translation), self._name)
        failure = never_made(self._name)
        stream = await UpstreamStream.start_batches(chunks, has_begun, failure)
        stream.usage_so_far = lambda: translation.usage
        return stream

    async def close(self) -> None:
        """Closes every connection to the provider."""
        await self._exchange.close()

    async def _chunks(
        self, request: UpstreamRequest, stream: MessageStream
    ) -> AsyncGenerator[SseEvent, None]:
        async with aclosing(self._as_they_are(request)) as events:
            async for event in events:
                for chunk in stream.chunks(event.parsed or {}):
                    yield SseEvent(orjson.dumps(chunk), parsed=chunk)

    async def _as_they_are(self, request: UpstreamRequest) -> AsyncGenerator[SseEvent, None]:
        def refusal(answer: Answer) -> UpstreamError:
            if answer.status == 400 and is_about_thoughts(answer.content):
                refused.append(answer)
            return self._refusal(answer, request.upstream_model)

        refused: list[Answer] = []
        try:
            call = await self._prepared(request)
            async with aclosing(self._events(call, refusal)) as events:
                async for event in events:
                    yield event
        except UpstreamError:
            if not refused:
                raise
            # An answer without the earlier thoughts is better than no answer.
            call = await self._prepared(request, with_thoughts=False)
            async with aclosing(self._events(call, refusal)) as events:
                async for event in events:
                    yield event

    async def _events(
        self, call: Call, refusal: Callable[[Answer], UpstreamError]
    ) -> AsyncGenerator[SseEvent, None]:
        blocks = MessageBlocks(self._name)
        async with aclosing(self._exchange.events(call, refusal)) as events:
            async for came in events:
                for event in self._apart(came) if came.is_whole else (came,):
                    read = self._read(event)
                    parsed = blocks.take(read)
                    yield self._marked(event, read, parsed)
                    if parsed.get("type") == "message_stop":
                        await drain(events)
                        return
        if not blocks.has_ended:
            raise self._unavailable("ended the stream before the answer was finished")
        last = blocks.take({"type": "message_stop"})
        yield SseEvent(orjson.dumps(last), b"message_stop", last)

    def _apart(self, whole: SseEvent) -> list[SseEvent]:
        """The events of an answer that was not streamed."""
        found = list(message_events(self._read(whole)))
        if not found:
            raise self._unavailable(NO_STREAM)
        return found

    def _marked(self, event: SseEvent, read: dict[str, Any], parsed: dict[str, Any]) -> SseEvent:
        """An event with the marks of its signatures. parsed: as it was mended; read: before."""
        if parsed is not read:
            return SseEvent(orjson.dumps(parsed), event.name, parsed)
        if b"signature" in event.data or b"redacted_thinking" in event.data:
            marked = self._signatures.marked_event(parsed)
            return SseEvent(orjson.dumps(marked), event.name, dict(marked))
        return SseEvent(event.data, event.name, parsed)

    def _read(self, event: SseEvent) -> dict[str, Any]:
        parsed = read_event(event)
        if parsed is None:
            raise self._unavailable("sent an event that is not a JSON object")
        if parsed.get("type") == "error":
            raise error_within(self._name, told(event.data, self._api_key))
        return parsed

    async def _prepared(self, request: UpstreamRequest, *, with_thoughts: bool = True) -> Call:
        make = partial(self._call, request, with_thoughts=with_thoughts)
        return await self._exchange.heavy.run_where(request.progress.is_large, make)

    def _call(self, request: UpstreamRequest, *, with_thoughts: bool) -> Call:
        headers = headers_for(request.stream) | self._headers | dict(request.headers)
        model = request.upstream_model
        facts = self._known(model)
        own = self._own(facts) if with_thoughts else _nobodys
        if request.surface is Surface.MESSAGES:
            taken = with_taken_history(with_taken_head(request.body), own)
            content = json_bytes(with_few_marks(without_lost_thinking(taken, facts.thinking)))
            return Call(self._url, headers, content, request.progress)
        try:
            translated = self._translated(request.body, model, own)
            whole = with_breakpoints(without_lost_thinking(translated, facts.thinking))
            body = dict(with_few_marks(whole))
        except InexpressibleError as error:
            message = f"The model's provider does not support {error}."
            raise UpstreamRejectedError(
                f"{self._name} does not support the request", status=400, body=envelope(message)
            ) from None
        body.pop("stream", None)
        content = json_bytes(body | {"stream": request.stream})
        return Call(self._url, headers, content, request.progress)

    def _own(self, facts: ModelFacts) -> Own:
        # Other vendors serve this API for their own models, and some do not sign thoughts.
        unsigned = facts.vendor not in (None, "anthropic")
        return partial(self._signatures.own, unsigned=unsigned)

    def _translated(self, body: Mapping[str, Any], model: str, own: Own) -> dict[str, Any]:
        return to_messages(
            body,
            model,
            own=own,
            thinking=self._thinks(model),
            thinking_off=self._known(model).thinking.off,
            max_output_tokens=self._max_output_tokens.get(model),
        )

    def _thinks(self, model: str) -> Thinking:
        return thinking_of(self._known(model))

    def _refusal(self, answer: Answer, model: str) -> UpstreamError:
        if answer.status == 200:
            return self._unavailable(NO_STREAM)
        error = told(answer.content, self._api_key)
        message = str(error.get("message") or "")
        inside = refusal_envelope(error, answer.status)["error"]
        return error_for_status(
            self._name,
            answer.status,
            envelope=envelope(inside["message"], str(inside.get("type") or _REFUSED)),
            retry_after_s=parse_retry_after_s(answer.headers, self._clock()),
            model_missing=not is_from_an_api(answer.content) or model in message,
            said=said_of(error),
        )

    def _unavailable(self, what: str, content: bytes = b"") -> UpstreamUnavailableError:
        said = said_of(told(content, self._api_key)) if content else None
        return UpstreamUnavailableError(f"{self._name} {what}", status=200, said=said)


def _nobodys(_: Mapping[str, Any]) -> None:
    """Accepts no thought as the provider's own."""
