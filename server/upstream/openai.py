"""Providers that speak OpenAI's dialect: chat completions and, where they have them, responses,
completions and embeddings."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import httpx

from server.secret import Secret
from server.sse import DONE_PAYLOAD, SseEvent
from server.upstream import openai_body
from server.upstream.addresses import Auth, key_headers
from server.upstream.base import Fit, Surface, UpstreamReply, UpstreamRequest, UpstreamStream
from server.upstream.beginning import has_begun
from server.upstream.compaction import not_offered
from server.upstream.errors import (
    UpstreamError,
    UpstreamUnavailableError,
    error_for_status,
    error_within,
    parse_retry_after_s,
)
from server.upstream.exchange import (
    Answer,
    Call,
    Exchange,
    drain,
)
from server.upstream.fields import Fields
from server.upstream.profiles import GENERIC, Profile
from server.upstream.said import answer_in, said_of
from server.upstream.tool_names import OPENAI_NAME
from server.upstream.wire import (
    headers_for,
    json_bytes,
    json_object,
    refusal_envelope,
    told,
    whole_object,
    without_key,
)

_MODEL_MISSING_CODES: Final = frozenset({"model_not_found", "DeploymentNotFound"})
_THE_WORD_MODEL: Final = re.compile(r"\bmodels?\b", re.IGNORECASE)
# Where each surface's answer has its substance, and what ends a stream of responses.
_SUBSTANCE: Final = {
    Surface.RESPONSES: "output",
    Surface.COMPACT: "output",
    Surface.EMBEDDINGS: "data",
}
_LAST_EVENTS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})

_OF_RESPONSES: Final = frozenset({Surface.RESPONSES, Surface.COMPACT})


class OpenAIUpstream:
    """A provider at base_url (which ends in /v1). Nothing of the caller's headers is forwarded.

    profile: its deviations from OpenAI. api_version: Azure's; with it, and a base_url that names
    the host alone, models are deployments. responses: whether it has /responses.
    auth: see key_headers.
    clock: Unix time in seconds, for a Retry-After that is a date.
    Raises ValueError for a key that cannot be an HTTP header.
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
        # by whether the answer is to be streamed
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
        """See Upstream.speaks."""
        return surface in self._surfaces

    def fields(self, surface: Surface, *, bounded: bool) -> Fields | None:
        """See Upstream.fields."""
        return self._profile.fields[surface, bounded]

    def fit(self, body: Mapping[str, Any], model: str, *, bounded: bool) -> Fit:  # noqa: ARG002
        """See Upstream.fit."""
        return openai_body.fit(self._profile, body, bounded=bounded)

    def kin(self, body: Mapping[str, Any], model: str) -> Hashable:  # noqa: ARG002
        """See Upstream.kin."""
        return None

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        """See Upstream.complete."""
        answer = await self._exchange.post(await self._prepared(request))
        if request.surface is Surface.COMPACT:
            missing = not_offered(self._name, answer.status, answer_in(answer.content))
            if missing is not None:
                raise missing
        if answer.status != 200:
            raise self._refusal(answer, request.upstream_model)
        body = await whole_object(self._exchange.heavy, answer)
        if answer.content_type not in ("application/json", "") or body is None:
            raise self._unavailable("answered with something that is not JSON")
        if body.get("error"):
            error = error_within(self._name, told(answer.content, self._api_key))
            error.reported = body
            raise error
        if not isinstance(body.get(_SUBSTANCE.get(request.surface, "choices")), list):
            raise self._unavailable(f"answered with JSON that is no answer to {request.surface}")
        _check_choices(self._name, body)
        return UpstreamReply(body, is_large=answer.is_large)

    async def open_stream(self, request: UpstreamRequest) -> UpstreamStream:
        """See Upstream.open_stream."""
        return await UpstreamStream.start_batches(self._batches(request), has_begun)

    async def close(self) -> None:
        """Closes every connection to the provider."""
        await self._exchange.close()

    async def _batches(self, request: UpstreamRequest) -> AsyncGenerator[list[SseEvent], None]:
        def refusal(answer: Answer) -> UpstreamError:
            return self._refusal(answer, request.upstream_model)

        ending = _Ending()
        call = await self._prepared(request)
        async with aclosing(self._exchange.batches(call, refusal)) as batches:
            async for events in batches:
                chunks: list[SseEvent] = []
                failure = self._read_chunks(events, chunks, ending)
                if chunks:
                    yield chunks
                if failure is not None:
                    raise failure
                if ending.done:
                    await drain(batches)
                    break
        if not ending.is_clean:
            raise self._unavailable("ended the stream before the answer was finished")

    def _read_chunks(
        self, events: list[SseEvent], chunks: list[SseEvent], ending: _Ending
    ) -> UpstreamError | None:
        """Appends to chunks. Returns what is wrong with the event after the last of them."""
        try:
            for event in events:
                if event.data.strip() == DONE_PAYLOAD:
                    ending.said_done = ending.done = True
                    return None
                if event.data:
                    chunks.append(self._chunk(event, ending))
        except UpstreamError as error:
            return error
        return None

    def _chunk(self, event: SseEvent, ending: _Ending) -> SseEvent:
        parsed = json_object(event.data)
        if parsed is None:
            raise self._unavailable("sent an event that is not a JSON object")
        if b"error" in event.data or event.name:
            if parsed.get("error") or event.name == b"error":
                raise error_within(self._name, told(event.data, self._api_key))
            _check_choices(self._name, parsed)
        ending.watch(parsed)
        if "type" in parsed and parsed["type"] == "response.failed" and not ending.has_begun:
            raise self._failed(event.data)
        event.parsed = parsed
        return event

    def _failed(self, data: bytes) -> UpstreamError:
        """A response that failed before it said anything: another model can still answer."""
        response = (json_object(without_key(data, self._api_key)) or {}).get("response")
        said = response if isinstance(response, dict) else {}
        error = said.get("error")
        failure = error_within(self._name, error if isinstance(error, dict) else {})
        failure.reported = said
        return failure

    async def _prepared(self, request: UpstreamRequest) -> Call:
        if not request.progress.is_large:
            return self._call(request)
        return await self._exchange.heavy.run(partial(self._call, request))

    def _call(self, request: UpstreamRequest) -> Call:
        body = openai_body.outgoing(self._profile, request)
        headers = self._headers[request.stream]
        return Call(self._url(request), headers, json_bytes(body), request.progress)

    def _url(self, request: UpstreamRequest) -> httpx.URL:
        # to parse a URL takes longer than to send a request to it
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
            # the body names the deployment
            address = f"{self._base_url}/openai/{request.surface}"
        elif not self._base_url.endswith("/v1"):
            deployment = quote(request.upstream_model, safe="")
            address = f"{self._base_url}/openai/deployments/{deployment}/{request.surface}"
        return httpx.URL(address, params={"api-version": self._api_version})

    def _refusal(self, answer: Answer, model: str) -> UpstreamError:
        if answer.status == 200:
            return self._unavailable("was asked for a stream and answered with something else")
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


def _check_choices(provider: str, answer: Mapping[str, Any]) -> None:
    """Raises for a choice that ended in an error, as OpenRouter and Mistral say it."""
    choices = answer.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("finish_reason") == "error":
            said = choice.get("error")
            error = error_within(provider, said if isinstance(said, dict) else {})
            error.reported = answer
            raise error


class _Ending:
    """Whether a stream came to its proper end: [DONE], its last event, or a finish_reason for
    every choice."""

    def __init__(self) -> None:
        self.done = False
        self.said_done = False
        # known of the events of responses alone
        self.has_begun = False
        self._finished: dict[object, bool] = {}

    def watch(self, chunk: Mapping[str, Any]) -> None:
        if "type" in chunk:
            self.done = self.done or str(chunk["type"]) in _LAST_EVENTS
            self.has_begun = self.has_begun or (not self.done and has_begun(chunk))
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                index = choice.get("index", 0)
                if choice.get("finish_reason") is not None:
                    self._finished[index] = True
                elif index not in self._finished:
                    self._finished[index] = False

    @property
    def is_clean(self) -> bool:
        return self.done or (bool(self._finished) and all(self._finished.values()))


def _model_missing(body: Mapping[str, Any] | None, model: str) -> bool:
    """Whether a 404 is about the model's name (or our base_url) and so not the caller's fault."""
    error = None if body is None else body.get("error")
    if not isinstance(error, dict):
        # not an API's error at all, but the page of a web server at a wrong base_url
        return not isinstance(error, str) or _mentions_model(error, model)
    if str(error.get("code")) in _MODEL_MISSING_CODES or error.get("param") == "model":
        return True
    return _mentions_model(str(error.get("message", "")), model)


def _mentions_model(message: str, model: str) -> bool:
    return model in message or _THE_WORD_MODEL.search(message) is not None
