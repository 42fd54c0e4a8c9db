"""The upstream for Gemini: translates chat completions to generateContent and back."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from server.config.secret import Secret
from server.upstream.addresses import Auth, gemini_models_url, key_headers
from server.upstream.base import Fit, UpstreamReply, UpstreamRequest, UpstreamStream
from server.upstream.beginning import has_begun
from server.upstream.dialect import InexpressibleError, check_bounded, left_out
from server.upstream.errors import (
    UpstreamError,
    UpstreamModelRefusedError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
    error_for_status,
    error_within,
    parse_retry_after_s,
)
from server.upstream.exchange import EVENT_STREAM, NO_STREAM, Answer, Call, Exchange, drain
from server.upstream.fields import Fields
from server.upstream.gemini.contents import Own
from server.upstream.gemini.reply import (
    ContentStream,
    failure_of,
    filter_of,
    is_empty,
    sign_parts,
    to_completion,
    usage_of,
)
from server.upstream.gemini.request import KNOWN, NATIVE, UNBOUNDED, to_generate_content
from server.upstream.gemini.shapes import ANSWER
from server.upstream.joined import joined_content
from server.upstream.mending.stream import mended
from server.upstream.mending.whole import mend_answer
from server.upstream.refusals import Refusal
from server.upstream.said import is_from_an_api, said_of
from server.upstream.signatures import Signatures, is_about_thoughts
from server.upstream.tool_names import GEMINI_NAME
from server.upstream.wire import (
    envelope,
    headers_for,
    json_bytes,
    json_object,
    refusal_envelope,
    told,
    whole_object,
)
from server.wire.shapes import fitted, objects, word
from server.wire.sse import SseEvent
from server.wire.surface import Surface

BASE_URL: Final = "https://generativelanguage.googleapis.com"
# Reasons of 400s that concern the operator's key, region or account, and not the caller.
_OURS: Final = frozenset({"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "FAILED_PRECONDITION"})


class GeminiUpstream:
    """A provider with Gemini's API. base_url: see gemini_models_url. auth: see key_headers. The
    other arguments are those of OpenAIUpstream."""

    bills = False
    tool_names = GEMINI_NAME

    def __init__(
        self,
        name: str,
        *,
        api_key: Secret | None,
        exchange: Exchange,
        base_url: str = BASE_URL,
        auth: Auth | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._models_url = gemini_models_url(base_url)
        self._api_key = api_key
        self._headers = key_headers(name, "gemini", base_url, api_key, auth)
        self._signatures = Signatures(base_url, api_key)
        self._exchange = exchange
        self._clock = clock

    @property
    def name(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"GeminiUpstream({self._name!r})"

    def speaks(self, surface: Surface) -> bool:
        """Whether a request of this surface can be sent as it is."""
        return surface is Surface.CHAT

    def fields(self, surface: Surface, *, bounded: bool) -> Fields | None:  # noqa: ARG002
        """The fields of this surface's bodies that may be sent; None: all. Every body is
        translated."""
        return None

    def fit(self, body: Mapping[str, Any], model: str, *, bounded: bool) -> Fit:
        """Whether a chat-completions body can be expressed, and what of it will be sent. model: the
        provider's name for the model."""
        try:
            to_generate_content(body, model)
            if bounded:
                check_bounded(body, UNBOUNDED)
        except InexpressibleError as error:
            return Fit(f"its provider does not support {error}")
        return Fit(left_out=left_out(body, KNOWN | NATIVE))

    def kin(self, body: Mapping[str, Any], model: str) -> Hashable:
        """A key that is equal for models with the same fit for this body, which depends only on how
        they think. Finding out the fit can take as long as translating the body."""
        return model if "reasoning_effort" in body else None

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        """Sends the request and returns the whole answer."""
        heavy = self._exchange.heavy
        answer = await self._exchange.post(await self._prepared(request))
        if answer.status == 400 and is_about_thoughts(answer.content):
            # A model can do without the signatures of others.
            answer = await self._exchange.post(await self._prepared(request, with_signatures=False))
        if answer.status != 200:
            raise self._refusal(answer, request.upstream_model)
        if answer.content_type == EVENT_STREAM:
            join = partial(joined_content, self._name, answer.content)
            found = await heavy.run_where(answer.is_large, join)
        else:
            found = await whole_object(heavy, answer)
        body = fitted(found, ANSWER)
        if not (body.get("candidates") or body.get("promptFeedback")):
            raise self._unavailable("answered with something that is not content of Gemini's API")
        self._check_said(body, nothing_yet=True)
        if is_empty(body):
            raise self._empty(usage_of(body.get("usageMetadata")))

        def translate() -> dict[str, Any]:
            sign_parts(body, self._signatures.marked_text)
            return mend_answer(self._name, to_completion(body, int(self._clock())))

        return UpstreamReply(
            await heavy.run_where(answer.is_large, translate), is_large=answer.is_large
        )

    async def open_stream(self, request: UpstreamRequest) -> UpstreamStream:
        """Returns once the first event has arrived, so that a failure before the first byte raises
        (a leaf of UpstreamError) and the caller can turn to another model."""
        translation = ContentStream(int(self._clock()))
        chunks = mended(self._chunks(request, translation), self._name)
        stream = await UpstreamStream.start_batches(chunks, has_begun)
        stream.usage_so_far = lambda: translation.usage
        return stream

    async def close(self) -> None:
        """Closes every connection to the provider."""
        await self._exchange.close()

    async def _chunks(
        self, request: UpstreamRequest, stream: ContentStream
    ) -> AsyncGenerator[SseEvent, None]:
        def refusal(answer: Answer) -> UpstreamError:
            return self._refusal(answer, request.upstream_model)

        call = await self._prepared(request)
        async with aclosing(self._exchange.events(call, refusal)) as events:
            async for came in events:
                for event in _apart(came) if came.is_whole else (came,):
                    # The last chunks may hold only usage: only the end of the answer ends the
                    # stream.
                    answer = self._read(event)
                    self._check_said(answer, nothing_yet=not stream.has_begun)
                    if b"thoughtSignature" in event.data:
                        sign_parts(answer, self._signatures.marked_text)
                    for chunk in stream.chunks(answer):
                        yield _event(chunk)
            await drain(events)
        if not stream.done:
            raise self._unavailable("ended the stream before the answer was finished")
        if stream.is_empty:
            raise self._empty(stream.usage)
        for chunk in stream.last():
            yield _event(chunk)

    def _read(self, event: SseEvent) -> dict[str, Any]:
        parsed = json_object(event.data)
        if parsed is None:
            raise self._unavailable("sent an event that is not a JSON object")
        if parsed.get("error"):
            raise error_within(self._name, told(event.data, self._api_key))
        return fitted(parsed, ANSWER)

    def _check_said(self, answer: Mapping[str, Any], *, nothing_yet: bool) -> None:
        """Raises an error for an answer that has failed, or that was filtered before any
        content."""
        error: UpstreamError
        failed = failure_of(answer)
        filtered = filter_of(answer) if nothing_yet else None
        if failed is not None:
            error = self._unavailable(f"ended the answer with the reason {failed[:40]}")
        elif filtered is not None:
            message = f"The provider's filter has stopped the content ({filtered[:60]})."
            error = UpstreamModelRefusedError(
                f"{self._name} filtered the content of the request",
                status=400,
                refusal=Refusal.CONTENT,
                body=envelope(message, code="content_filter"),
            )
        else:
            return
        usage = usage_of(answer.get("usageMetadata"))
        error.reported = None if usage is None else {"usage": usage}
        raise error

    def _empty(self, usage: dict[str, Any] | None) -> UpstreamUnavailableError:
        """The error for an answer that ends well and says nothing: a known fault of the service,
        which another try or another model does not have."""
        error = self._unavailable("ended the answer without any content")
        error.reported = None if usage is None else {"usage": usage}
        return error

    async def _prepared(self, request: UpstreamRequest, *, with_signatures: bool = True) -> Call:
        make = partial(self._call, request, with_signatures=with_signatures)
        return await self._exchange.heavy.run_where(request.progress.is_large, make)

    def _call(self, request: UpstreamRequest, *, with_signatures: bool) -> Call:
        own: Own = self._signatures.own_text if with_signatures else _nobodys
        try:
            body = to_generate_content(request.body, request.upstream_model, own=own)
        except InexpressibleError as error:
            message = f"The model's provider does not support {error}."
            raise UpstreamRejectedError(
                f"{self._name} does not support the request", status=400, body=envelope(message)
            ) from None
        method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        model = quote(request.upstream_model.removeprefix("models/"), safe="")
        url = httpx.URL(f"{self._models_url}/{model}:{method}")
        headers = headers_for(request.stream) | self._headers
        return Call(url, headers, json_bytes(body), request.progress)

    def _refusal(self, answer: Answer, model: str) -> UpstreamError:
        if answer.status == 200:
            return self._unavailable(NO_STREAM)
        error = told(answer.content, self._api_key)
        reasons = {
            word(error.get("status")),
            *(word(d.get("reason")) for d in objects(error.get("details"))),
        }
        if answer.status == 400 and reasons & _OURS:
            return UpstreamUnavailableError(f"{self._name} refuses our key or account", status=401)
        message = refusal_envelope(error, answer.status)["error"]["message"]
        missing = not is_from_an_api(answer.content) or model in message or "models/" in message
        return error_for_status(
            self._name,
            answer.status,
            envelope=envelope(message),
            retry_after_s=_retry_after_s(error, answer, self._clock()),
            model_missing=missing,
            said=said_of(error),
        )

    def _unavailable(self, what: str, content: bytes = b"") -> UpstreamUnavailableError:
        said = said_of(told(content, self._api_key)) if content else None
        return UpstreamUnavailableError(f"{self._name} {what}", status=200, said=said)


def _nobodys(_: str) -> None:
    """Accepts no signature as the provider's own."""


def _event(chunk: dict[str, Any]) -> SseEvent:
    return SseEvent(orjson.dumps(chunk), parsed=chunk)


def _apart(whole: SseEvent) -> list[SseEvent]:
    """The events of an answer that was not streamed: itself, or the items of a list, as the API
    sends them where it is not asked for server-sent events."""
    if not whole.data.lstrip().startswith(b"["):
        return [whole]
    items = (json_object(b'{"items":%b}' % whole.data) or {}).get("items")
    return [SseEvent(orjson.dumps(item)) for item in items] if isinstance(items, list) else [whole]


def _retry_after_s(error: Mapping[str, Any], answer: Answer, now_s: float) -> float | None:
    """The seconds to wait: Google states them in the body, as a duration such as "34.5s"."""
    for detail in objects(error.get("details")):
        delay = str(detail.get("retryDelay", ""))
        if delay.endswith("s"):
            return parse_retry_after_s({"retry-after": delay[:-1]}, now_s)
    return parse_retry_after_s(answer.headers, now_s)
