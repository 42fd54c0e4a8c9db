"""Providers that speak OpenAI's chat completions."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import httpx
import orjson

from server.secret import Secret
from server.sse import DONE_PAYLOAD, SseEvent
from server.upstream.base import UpstreamReply, UpstreamRequest, UpstreamStream
from server.upstream.errors import (
    UpstreamError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
    error_for_status,
    parse_retry_after_s,
)
from server.upstream.exchange import EVENT_STREAM, Answer, Call, Exchange, drain

_MODEL_MISSING_CODES: Final = frozenset({"model_not_found", "DeploymentNotFound"})
_THE_WORD_MODEL: Final = re.compile(r"\bmodels?\b", re.IGNORECASE)


class OpenAIUpstream:
    """A provider at base_url (which ends in /v1). Nothing of the caller's headers is forwarded.

    first_byte_timeout_s: from sending to the first event, or to the head of a whole answer.
    idle_timeout_s: the longest silence after that.
    clock: Unix time in seconds, for a Retry-After that is a date.
    Raises ValueError for a key that cannot be an HTTP header.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: Secret | None,
        client: httpx.AsyncClient,
        connect_timeout_s: float = 2.0,
        first_byte_timeout_s: float = 30.0,
        idle_timeout_s: float = 60.0,
        max_concurrency: int = 256,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._url = httpx.URL(base_url.rstrip("/") + "/chat/completions")
        self._api_key = api_key
        self._authorization = _authorization(name, api_key)
        self._clock = clock
        self._exchange = Exchange(
            name,
            client,
            connect_timeout_s=connect_timeout_s,
            first_byte_timeout_s=first_byte_timeout_s,
            idle_timeout_s=idle_timeout_s,
            max_concurrency=max_concurrency,
        )

    @property
    def name(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"OpenAIUpstream({self._name!r})"

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        """See Upstream.complete."""
        answer = await self._exchange.post(self._call(request))
        if answer.status != 200:
            raise self._refusal(answer, request.upstream_model)
        body = _json_object(answer.content)
        if answer.content_type not in ("application/json", "") or body is None:
            raise self._unavailable("answered with something that is not JSON")
        if body.get("error"):
            raise self._unavailable("answered 200 with an error inside")
        if not isinstance(body.get("choices"), list):
            raise self._unavailable("answered with JSON that is no chat completion")
        return UpstreamReply(body)

    async def open_stream(self, request: UpstreamRequest) -> UpstreamStream:
        """See Upstream.open_stream."""
        return await UpstreamStream.start(self._chunks(request))

    async def close(self) -> None:
        """Closes every connection to the provider."""
        await self._exchange.close()

    async def _chunks(self, request: UpstreamRequest) -> AsyncGenerator[SseEvent, None]:
        def refusal(answer: Answer) -> UpstreamError:
            return self._refusal(answer, request.upstream_model)

        ending = _Ending()
        async with aclosing(self._exchange.events(self._call(request), refusal)) as events:
            async for event in events:
                if event.data.strip() == DONE_PAYLOAD:
                    ending.done = True
                    await drain(events)
                    break
                if event.data:
                    yield self._chunk(event, ending)
        if not ending.is_clean:
            raise self._unavailable("ended the stream before the answer was finished")

    def _chunk(self, event: SseEvent, ending: _Ending) -> SseEvent:
        parsed = _json_object(event.data)
        if parsed is None:
            raise self._unavailable("sent an event that is not a JSON object")
        if parsed.get("error") or event.name == b"error":
            raise self._unavailable("sent an error inside the stream")
        ending.watch(parsed)
        return SseEvent(event.data, event.name, parsed)

    def _call(self, request: UpstreamRequest) -> Call:
        headers = {
            "content-type": "application/json",
            "accept": EVENT_STREAM if request.stream else "application/json",
            "accept-encoding": "identity" if request.stream else "gzip",
            **self._authorization,
        }
        try:
            return Call(self._url, headers, orjson.dumps(_outgoing(request)))
        except orjson.JSONEncodeError:
            # half a surrogate pair, say: no provider could read it either
            error = _envelope_of("The request body cannot be written as JSON.")
            raise UpstreamRejectedError(
                "the request body cannot be written as JSON", status=400, body=error
            ) from None

    def _refusal(self, answer: Answer, model: str) -> UpstreamError:
        if answer.status == 200:
            return self._unavailable("was asked for a stream and answered with something else")
        body = _json_object(self._without_key(answer.content))
        return error_for_status(
            self._name,
            answer.status,
            envelope=_envelope(body, answer.status),
            retry_after_s=parse_retry_after_s(answer.headers, self._clock()),
            model_missing=_model_missing(body, model),
        )

    def _without_key(self, content: bytes) -> bytes:
        # an error body is passed on to the caller, and a provider may quote what it was sent
        key = self._api_key.reveal().strip().encode() if self._api_key else b""
        return content.replace(key, b"**********") if key else content

    def _unavailable(self, what: str) -> UpstreamUnavailableError:
        return UpstreamUnavailableError(f"{self._name} {what}", status=200)


class _Ending:
    """Whether a stream came to its proper end: [DONE], or a finish_reason for every choice."""

    def __init__(self) -> None:
        self.done = False
        self._finished: dict[object, bool] = {}

    def watch(self, chunk: Mapping[str, Any]) -> None:
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                index = choice.get("index", 0)
                finished = choice.get("finish_reason") is not None
                self._finished[index] = self._finished.get(index, False) or finished

    @property
    def is_clean(self) -> bool:
        return self.done or (bool(self._finished) and all(self._finished.values()))


def _outgoing(request: UpstreamRequest) -> dict[str, Any]:
    body = {**request.body, "model": request.upstream_model}
    if request.stream:
        asked = body.get("stream_options")
        options = asked if isinstance(asked, Mapping) else {}
        # without it a stream has no usage, and an answer without usage has no cost
        body |= {"stream": True, "stream_options": {**options, "include_usage": True}}
    elif body.get("stream"):
        body["stream"] = False
    return body


def _authorization(name: str, api_key: Secret | None) -> dict[str, str]:
    # a key read from a file often ends in a newline
    key = api_key.reveal().strip() if api_key is not None else ""
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"the API key of provider {name} holds characters no HTTP header may")
    return {"authorization": f"Bearer {key}"}


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _envelope(body: Mapping[str, Any] | None, status: int) -> dict[str, Any]:
    """The provider's error in OpenAI's form, whichever way it said it."""
    said = {} if body is None else body
    error = said.get("error")
    if isinstance(error, dict):
        return {"error": error}
    for text in (error, said.get("message"), said.get("detail")):
        if isinstance(text, str) and text:
            return _envelope_of(text)
    return _envelope_of(f"The model's provider refused the request with status {status}.")


def _envelope_of(message: str) -> dict[str, Any]:
    return {
        "error": {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }


def _model_missing(body: Mapping[str, Any] | None, model: str) -> bool:
    """Whether a 404 is about the model's name (or our base_url) and so not the caller's fault."""
    error = None if body is None else body.get("error")
    if not isinstance(error, dict):
        # not an API's error at all, but the page of a web server at a wrong base_url
        return not isinstance(error, str) or _mentions_model(error, model)
    if error.get("code") in _MODEL_MISSING_CODES or error.get("param") == "model":
        return True
    return _mentions_model(str(error.get("message", "")), model)


def _mentions_model(message: str, model: str) -> bool:
    return model in message or _THE_WORD_MODEL.search(message) is not None
