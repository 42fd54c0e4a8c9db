"""The upstream for providers with OpenAI's API: chat completions and, where they have them,
responses, completions and embeddings."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import httpx

from server.config.secret import Secret
from server.upstream import openai_body
from server.upstream.addresses import Auth, key_headers
from server.upstream.apart import response_events
from server.upstream.base import Fit, UpstreamReply, UpstreamRequest, UpstreamStream
from server.upstream.beginning import has_begun
from server.upstream.compaction import not_offered
from server.upstream.emptiness import never_made
from server.upstream.errors import (
    UpstreamError,
    UpstreamUnavailableError,
    error_for_status,
    error_within,
    parse_retry_after_s,
)
from server.upstream.exchange import (
    EVENT_STREAM,
    NO_STREAM,
    Answer,
    Call,
    Exchange,
    drain,
)
from server.upstream.fields import Fields
from server.upstream.joined import joined
from server.upstream.mending.whole import mend_answer
from server.upstream.profiles import GENERIC, Profile
from server.upstream.reading import Reading, check_choices
from server.upstream.said import answer_in, said_of
from server.upstream.tool_names import OPENAI_NAME
from server.upstream.wire import (
    headers_for,
    json_bytes,
    json_object,
    read_event,
    refusal_envelope,
    told,
    whole_object,
)
from server.wire.sse import DONE_PAYLOAD, SseEvent
from server.wire.surface import Surface

_MODEL_MISSING_CODES: Final = frozenset({"model_not_found", "DeploymentNotFound"})
_THE_WORD_MODEL: Final = re.compile(r"\bmodels?\b", re.IGNORECASE)
# The field of each surface's answer that holds its content.
_SUBSTANCE: Final = {
    Surface.RESPONSES: "output",
    Surface.COMPACT: "output",
    Surface.EMBEDDINGS: "data",
}

_OF_RESPONSES: Final = frozenset({Surface.RESPONSES, Surface.COMPACT})


class OpenAIUpstream:
    """A provider at base_url (which ends in /v1). Nothing of the caller's headers is forwarded.

    profile: its deviations from OpenAI. api_version: Azure's; with it, and a base_url that names
    only the host, models are deployments. responses: whether it has /responses. auth: see
    key_headers. clock: Unix time in seconds, for a Retry-After that is a date. Raises ValueError
    for a key that cannot be an HTTP header.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: Secret | None,
        exchange: Exchange,
        profile: Profile = GENERIC,
        api_version: str | None = None,
        responses: bool | None = None,
        auth: Auth | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._profile = profile
        self.bills = profile.bills
        self.tool_names = OPENAI_NAME
        self._base_url = base_url.rstrip("/")
        self._api_version = api_version
        self._surfaces = {Surface.CHAT, Surface.COMPLETIONS, Surface.EMBEDDINGS}
        if profile.responses if responses is None else responses:
            self._surfaces |= {Surface.RESPONSES, Surface.COMPACT}
        self._api_key = api_key
        authorization = key_headers(name, "openai", base_url, api_key, auth or profile.auth)
        # By whether the answer is to be streamed.
        self._headers = {
            stream: httpx.Headers(headers_for(stream) | authorization) for stream in (False, True)
        }
        self._clock = clock
        self._exchange = exchange
        self._urls: dict[tuple[Surface, str], httpx.URL] = {}

    @property
    def name(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"OpenAIUpstream({self._name!r})"

    def speaks(self, surface: Surface) -> bool:
        """Whether a request of this surface can be sent as it is."""
        return surface in self._surfaces

    def fields(self, surface: Surface, *, bounded: bool) -> Fields | None:
        """The fields of this surface's bodies that may be sent; None: all of them."""
        return self._profile.fields[surface, bounded]

    def fit(self, body: Mapping[str, Any], model: str, *, bounded: bool) -> Fit:  # noqa: ARG002
        """Whether a chat-completions body can be expressed, and what of it will be sent. model: the
        provider's name for the model."""
        return openai_body.fit(self._profile, body, bounded=bounded)

    def kin(self, body: Mapping[str, Any], model: str) -> Hashable:  # noqa: ARG002
        """A key that is equal for models with the same fit for this body. Finding out the fit can
        take as long as translating the body, and a provider has many models."""
        return None

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        """Sends the request and returns the whole answer."""
        heavy = self._exchange.heavy
        answer = await self._exchange.post(await self._prepared(request))
        if request.surface is Surface.COMPACT:
            missing = not_offered(self._name, answer.status, answer_in(answer.content))
            if missing is not None:
                raise missing
        if answer.status != 200:
            raise self._refusal(answer, request.upstream_model)
        large = answer.is_large
        streamed = answer.content_type == EVENT_STREAM
        if streamed:
            tools = request.body.get("tools")
            join = partial(joined, self._name, request.surface, answer.content, tools)
            body = await heavy.run_where(large, join)
        else:
            body = await whole_object(heavy, answer) if large else json_object(answer.content)
        known = streamed or answer.content_type in ("application/json", "")
        if not known or body is None:
            raise self._unavailable("answered with something that is not JSON")
        if body.get("error"):
            error = error_within(self._name, told(answer.content, self._api_key))
            error.reported = body
            raise error
        if not isinstance(body.get(_SUBSTANCE.get(request.surface, "choices")), list):
            raise self._unavailable(
                f"answered with JSON that is not an answer to {request.surface}"
            )
        if request.surface is not Surface.CHAT:
            check_choices(self._name, body)
        elif large:
            body = await heavy.run(partial(mend_answer, self._name, body))
        else:
            body = mend_answer(self._name, body)
        return UpstreamReply(body, is_large=large)

    async def open_stream(self, request: UpstreamRequest) -> UpstreamStream:
        """Returns once the first event has arrived, so that a failure before the first byte raises
        (a leaf of UpstreamError) and the caller can turn to another model."""
        failure = never_made(self._name) if request.surface is Surface.CHAT else None
        return await UpstreamStream.start_batches(self._batches(request), has_begun, failure)

    async def close(self) -> None:
        """Closes every connection to the provider."""
        await self._exchange.close()

    async def _batches(self, request: UpstreamRequest) -> AsyncGenerator[list[SseEvent], None]:
        def refusal(answer: Answer) -> UpstreamError:
            return self._refusal(answer, request.upstream_model)

        tools = request.body.get("tools")
        reading = Reading(self._name, request.surface, self._api_key, tools)
        call = await self._prepared(request)
        async with aclosing(self._exchange.batches(call, refusal)) as batches:
            async for came in batches:
                events = came
                if came[0].is_whole:
                    events = self._apart(came[0], request.surface)
                chunks: list[SseEvent] = []
                failure = self._read_chunks(events, chunks, reading)
                if chunks:
                    yield chunks
                if failure is not None:
                    raise failure
                if reading.is_over:
                    await drain(batches)
                    break
        last = reading.end()
        if last:
            yield last
        if reading.failure is not None:
            raise reading.failure

    def _apart(self, whole: SseEvent, surface: Surface) -> list[SseEvent]:
        """The events of an answer that was not streamed: a chat completion or a completion is one
        event. Raises UpstreamError, with what it cost, for anything else."""
        body = read_event(whole)
        if body is None:
            return [whole]
        if surface is Surface.RESPONSES and (events := list(response_events(body))):
            return events
        if body.get("error"):
            error = error_within(self._name, told(whole.data, self._api_key))
            error.reported = body
            raise error
        if surface is Surface.RESPONSES or not isinstance(body.get("choices"), list):
            raise self._unavailable(NO_STREAM)
        return [whole]

    def _read_chunks(
        self, events: list[SseEvent], chunks: list[SseEvent], reading: Reading
    ) -> UpstreamError | None:
        """Appends to chunks. Returns the error of the event after the last of them."""
        try:
            for event in events:
                data = event.data
                if not data.startswith(b"{") and data.strip() == DONE_PAYLOAD:
                    reading.is_over = True
                    return None
                if not data:
                    continue
                parsed = read_event(event) if event.parsed is None else event.parsed
                if parsed is None or parsed.get("error") or event.name == b"error":
                    return self._failure(event)
                taken = reading.take(event)
                if taken is None:
                    chunks.append(event)
                else:
                    chunks += taken
        except UpstreamError as error:
            return error
        return None

    def _failure(self, event: SseEvent) -> UpstreamError:
        """The error for an event that is not part of an answer."""
        if event.parsed is None:
            return self._unavailable("sent an event that is not a JSON object")
        return error_within(self._name, told(event.data, self._api_key))

    async def _prepared(self, request: UpstreamRequest) -> Call:
        if not request.progress.is_large:
            return self._call(request)
        return await self._exchange.heavy.run(partial(self._call, request))

    def _call(self, request: UpstreamRequest) -> Call:
        body = openai_body.outgoing(self._profile, request)
        headers = self._headers[request.stream]
        return Call(self._url(request), headers, json_bytes(body), request.progress)

    def _url(self, request: UpstreamRequest) -> httpx.URL:
        # Parsing a URL takes longer than sending a request to it.
        key = (request.surface, request.upstream_model)
        url = self._urls.get(key)
        if url is None:
            url = self._urls[key] = self._built_url(request)
        return url

    def _built_url(self, request: UpstreamRequest) -> httpx.URL:
        address = f"{self._base_url}/{request.surface}"
        if self._api_version is None:
            return httpx.URL(address)
        if not self._base_url.endswith("/v1") and request.surface in _OF_RESPONSES:
            # The body names the deployment.
            address = f"{self._base_url}/openai/{request.surface}"
        elif not self._base_url.endswith("/v1"):
            deployment = quote(request.upstream_model, safe="")
            address = f"{self._base_url}/openai/deployments/{deployment}/{request.surface}"
        return httpx.URL(address, params={"api-version": self._api_version})

    def _refusal(self, answer: Answer, model: str) -> UpstreamError:
        if answer.status == 200:
            return self._unavailable(NO_STREAM)
        error = told(answer.content, self._api_key)
        return error_for_status(
            self._name,
            answer.status,
            envelope=refusal_envelope(error, answer.status),
            retry_after_s=parse_retry_after_s(answer.headers, self._clock()),
            model_missing=_model_missing(answer_in(answer.content), model),
            said=said_of(error),
        )

    def _unavailable(self, what: str, content: bytes = b"") -> UpstreamUnavailableError:
        said = said_of(told(content, self._api_key)) if content else None
        return UpstreamUnavailableError(f"{self._name} {what}", status=200, said=said)


def _model_missing(body: Mapping[str, Any] | None, model: str) -> bool:
    """Whether a 404 concerns the model's name (or our base_url), which is not the caller's
    fault."""
    error = None if body is None else body.get("error")
    if not isinstance(error, dict):
        # It is not an error of the API, but the page of a web server at a wrong base_url.
        return not isinstance(error, str) or _mentions_model(error, model)
    if str(error.get("code")) in _MODEL_MISSING_CODES or error.get("param") == "model":
        return True
    return _mentions_model(str(error.get("message", "")), model)


def _mentions_model(message: str, model: str) -> bool:
    return model in message or _THE_WORD_MODEL.search(message) is not None
