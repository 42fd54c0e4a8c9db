"""An upstream for OpenAI's API that uses the Responses API where its models require it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import orjson

from server.model_facts import ModelFacts, facts_of
from server.process.heavy import Heavy
from server.upstream.base import Fit, Upstream, UpstreamReply, UpstreamRequest, UpstreamStream
from server.upstream.beginning import has_begun
from server.upstream.dialect import InexpressibleError
from server.upstream.emptiness import never_made
from server.upstream.errors import UpstreamError, UpstreamRejectedError, UpstreamStreamBrokenError
from server.upstream.fields import Fields
from server.upstream.fitting import body_of, fit_of
from server.upstream.mending.stream import mended_batches
from server.upstream.mending.whole import mend_answer
from server.upstream.openai_responses.items import Open
from server.upstream.openai_responses.native import (
    Own,
    marked_event,
    marked_response,
    with_taken_items,
)
from server.upstream.openai_responses.need import (
    Need,
    has_tools,
    need_of,
    needs_responses,
)
from server.upstream.openai_responses.reply import (
    Seal,
    failure_of,
    to_completion,
    usage_of,
)
from server.upstream.openai_responses.request import LEAST_OUTPUT_TOKENS, left_out, to_responses
from server.upstream.openai_responses.shapes import EVENT, RESPONSE
from server.upstream.openai_responses.stream import ResponseChunks
from server.upstream.openai_responses.thoughts import Thought, Thoughts
from server.upstream.signatures import Signatures
from server.upstream.wire import envelope
from server.wire.shapes import fitted
from server.wire.sse import SseEvent
from server.wire.surface import Surface

T = TypeVar("T")
# How long to wait, after the last event, for the end of the answer, so that the connection can be
# reused.
_DRAIN_S: Final = 0.1
_NOT_HERE: Final = (
    "it takes tools on /v1/responses alone: set responses: true where its provider has that"
)
_SUMMARY: Final = "reasoning.summary"
_UNVERIFIED: Final = "organization must be verified"
_REASONING_ITEM: Final = re.compile(
    r"Item (with id )?'(rs|msg|fc)_|.*encrypted content\b.* could not be", re.IGNORECASE
)
_NATIVE: Final = frozenset({Surface.RESPONSES, Surface.COMPACT})
_ENCRYPTED: Final = "ncrypted content is not supported"


class ResponsesBridge:
    """An upstream for OpenAI's API. Chat completions that its models accept only on the Responses
    API are translated; everything else goes to `plain` unchanged.

    thoughts: seals the reasoning that callers keep. signatures: marks encrypted content in answers
    that are not translated. facts: by the provider's name for a model, where the name itself does
    not tell. choices: by the same name, whether the Responses API is used, whatever the facts say.
    is_openai: whether the provider refuses on Chat Completions what OpenAI refuses there.
    """

    def __init__(
        self,
        plain: Upstream,
        thoughts: Thoughts,
        signatures: Signatures,
        facts: Mapping[str, ModelFacts] | None = None,
        choices: Mapping[str, bool] | None = None,
        *,
        is_openai: bool = False,
    ) -> None:
        self._plain = plain
        self._heavy = Heavy(1)
        self.bills = plain.bills
        self.tool_names = plain.tool_names
        self._is_openai = is_openai
        self._thoughts = thoughts
        self._signatures = signatures
        self._known = facts or {}
        self._choices = choices or {}
        self._needs: dict[str, Need] = {}
        # Models which the provider has said accept tools only on the Responses API.
        self._told: set[str] = set()
        # Whether this account may request summaries; models without summaries, and models that do
        # not encrypt.
        self._verified = True
        self._silent: set[str] = set()
        self._bare: set[str] = set()

    @property
    def name(self) -> str:
        return self._plain.name

    def __repr__(self) -> str:
        return f"ResponsesBridge({self._plain!r})"

    def speaks(self, surface: Surface) -> bool:
        """Whether a request of this surface can be sent as it is."""
        return self._plain.speaks(surface)

    def fields(self, surface: Surface, *, bounded: bool) -> Fields | None:
        """The fields of this surface's bodies that may be sent; None: all of them."""
        return self._plain.fields(surface, bounded=bounded)

    def fit(self, body: Mapping[str, Any], model: str, *, bounded: bool) -> Fit:
        """Whether a chat-completions body can be expressed, and what of it will be sent. model: the
        provider's name for the model."""
        if not self._bridges(body, model):
            return self._fit_on_chat(body, model, bounded=bounded)
        found = fit_of(body, self._plain.fields(Surface.CHAT, bounded=bounded))
        kept = body_of(found, body)
        try:
            # Any reasoning in the body can be expressed: opening it would take the longest.
            self._translated(kept, model, lambda _: None)
        except InexpressibleError as error:
            return Fit(f"its provider does not support {error}")
        names = {*found.left_out, *left_out(kept, self._facts(model))}
        return Fit(
            left_out=tuple(sorted(names)), body=found.body, least_output_tokens=LEAST_OUTPUT_TOKENS
        )

    def kin(self, body: Mapping[str, Any], model: str) -> Hashable:
        """A key that is equal for models with the same fit for this body. Finding out the fit can
        take as long as translating the body, and a provider has many models."""
        if self._bridges(body, model):
            facts = self._facts(model)
            return Surface.RESPONSES, facts.known, facts.sampling, facts.thinking
        off = self._facts(model).thinking.off if self._is_stuck(body, model) else None
        return Surface.CHAT, off, self._plain.kin(body, model)

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        """Sends the request and returns the whole answer."""
        if request.surface in _NATIVE:
            reply = await self._as_it_is(request, self._plain.complete)
            return replace(reply, body=marked_response(reply.body, self._signatures))
        if not self._is_bridged(request):
            try:
                return await self._plain.complete(request)
            except UpstreamError as error:
                if not self._is_told(request, error):
                    raise
        reply = await self._sent(request, self._plain.complete)
        said = fitted(reply.body, RESPONSE)
        failed = failure_of(self.name, said)
        if failed is not None:
            raise failed
        seal = self._seal(request.upstream_model)

        def translate() -> dict[str, Any]:
            return mend_answer(self.name, to_completion(said, seal))

        body = await self._heavy.run_where(reply.is_large, translate)
        return UpstreamReply(body, is_large=reply.is_large)

    async def open_stream(self, request: UpstreamRequest) -> UpstreamStream:
        """Returns once the first event has arrived, so that a failure before the first byte raises
        (a leaf of UpstreamError) and the caller can turn to another model."""
        if request.surface is Surface.RESPONSES:
            stream = await self._as_it_is(request, self._plain.open_stream)
            return await UpstreamStream.start_batches(self._marked(stream))
        if not self._is_bridged(request):
            try:
                return await self._plain.open_stream(request)
            except UpstreamError as error:
                if not self._is_told(request, error):
                    raise
        batches = mended_batches(self._batches(request), self.name)
        return await UpstreamStream.start_batches(batches, has_begun, never_made(self.name))

    async def close(self) -> None:
        """Closes every connection to the provider."""
        self._heavy.close()
        await self._plain.close()

    async def _as_it_is(
        self, request: UpstreamRequest, send: Callable[[UpstreamRequest], Awaitable[T]]
    ) -> T:
        """Sends a request of the Responses API, without content that other accounts have
        encrypted."""
        own: Own = self._signatures.own_text
        while True:
            make = partial(with_taken_items, request.body, own)
            body = await self._heavy.run_where(request.progress.is_large, make)
            try:
                return await send(request if body is request.body else replace(request, body=body))
            except UpstreamError as error:
                if own is _nobodys or not _is_about_thoughts(error):
                    raise
                # An answer without the earlier thoughts is better than no answer.
                own = _nobodys

    async def _marked(self, stream: UpstreamStream) -> AsyncGenerator[list[SseEvent], None]:
        async with stream:
            while events := await stream.read():
                yield [marked_event(event, self._signatures) for event in events]

    async def _batches(self, request: UpstreamRequest) -> AsyncGenerator[list[SseEvent], None]:
        answer = ResponseChunks(self.name, self._seal(request.upstream_model))
        async with await self._sent(request, self._plain.open_stream) as stream:
            while not answer.done:
                try:
                    events = await stream.read()
                except UpstreamStreamBrokenError as error:
                    # Nothing may have been sent to the caller yet: then another model can answer.
                    cause = error.__cause__
                    raise cause if isinstance(cause, UpstreamError) else error from None
                if not events:
                    break
                chunks: list[SseEvent] = []
                failed = _read_chunks(answer, events, chunks)
                if chunks:
                    yield chunks
                if failed is not None:
                    raise failed
            with anyio.move_on_after(_DRAIN_S), suppress(UpstreamError):
                while answer.done and await stream.read():
                    pass

    async def _sent(
        self, request: UpstreamRequest, send: Callable[[UpstreamRequest], Awaitable[T]]
    ) -> T:
        with_thoughts = True
        while True:
            try:
                make = partial(self._outgoing, request, with_thoughts=with_thoughts)
                return await send(await self._heavy.run_where(request.progress.is_large, make))
            except UpstreamError as error:
                if self._does_without(request.upstream_model, error):
                    continue
                if with_thoughts and _is_about_thoughts(error):
                    # An answer without the earlier thoughts is better than no answer.
                    with_thoughts = False
                    continue
                if error.reported is not None:
                    error.reported = {"usage": usage_of(error.reported.get("usage"))}
                raise

    def _outgoing(self, request: UpstreamRequest, *, with_thoughts: bool) -> UpstreamRequest:
        model = request.upstream_model

        def opened(data: object) -> Thought | None:
            return self._thoughts.opened(model, data) if with_thoughts else None

        try:
            body = self._translated(request.body, model, opened)
        except InexpressibleError as error:
            told = envelope(f"The model's provider does not support {error}.")
            message = f"{self.name} does not support the request"
            raise UpstreamRejectedError(message, status=400, body=told) from None
        return UpstreamRequest(
            body, request.stream, model, Surface.RESPONSES, progress=request.progress
        )

    def _translated(self, body: Mapping[str, Any], model: str, opened: Open) -> dict[str, Any]:
        return to_responses(
            body,
            model,
            self._facts(model),
            opened,
            summaries=self._verified and model not in self._silent,
            encrypted=model not in self._bare,
        )

    def _seal(self, model: str) -> Seal:
        return lambda thought: self._thoughts.sealed(model, thought)

    def _fit_on_chat(self, body: Mapping[str, Any], model: str, *, bounded: bool) -> Fit:
        if not self._is_stuck(body, model):
            return self._plain.fit(body, model, bounded=bounded)
        if self._facts(model).thinking.off != "none":
            return Fit(_NOT_HERE)
        # The tools are needed; the effort is a preference.
        silent = {**body, "reasoning_effort": "none"}
        found = self._plain.fit(silent, model, bounded=bounded)
        wished = {"reasoning_effort"} if body.get("reasoning_effort") is not None else set()
        names = tuple(sorted({*found.left_out, *wished}))
        return replace(found, left_out=names, body=body_of(found, silent))

    def _is_stuck(self, body: Mapping[str, Any], model: str) -> bool:
        """Whether Chat Completions refuses the body and there is no alternative."""
        if not self._is_openai or not body.get("tools") or self._bridges(body, model):
            return False
        return needs_responses(self._facts(model), body)

    def _is_bridged(self, request: UpstreamRequest) -> bool:
        return request.surface is Surface.CHAT and self._bridges(
            request.body, request.upstream_model
        )

    def _bridges(self, body: Mapping[str, Any], model: str) -> bool:
        need = self._needs.get(model)
        if need is None:
            need = self._needs[model] = self._need(model)
        if need is not Need.WITH_TOOLS or not body.get("tools"):
            return need is Need.ALWAYS
        if model in self._told:
            return body.get("reasoning_effort") != "none"
        return needs_responses(self._facts(model), body)

    def _need(self, model: str) -> Need:
        chosen = self._choices.get(model)
        if chosen is not None:
            return Need.ALWAYS if chosen else Need.NEVER
        if not self._plain.speaks(Surface.RESPONSES):
            return Need.NEVER
        return need_of(self._facts(model))

    def _facts(self, model: str) -> ModelFacts:
        return self._known.get(model) or facts_of(model)

    def _is_told(self, request: UpstreamRequest, error: UpstreamError) -> bool:
        """Whether the provider refuses tools on Chat Completions, and says where it accepts
        them."""
        model, said = request.upstream_model, _said(error)
        can = request.surface is Surface.CHAT and self._plain.speaks(Surface.RESPONSES)
        if not can or self._choices.get(model) is False or not has_tools(request.body):
            return False
        if "/v1/responses" not in str(said.get("message")):
            return False
        self._told.add(model)
        self._needs[model] = Need.WITH_TOOLS
        return True

    def _does_without(self, model: str, error: UpstreamError) -> bool:
        """Whether the provider refused something that only we have asked for and that has not been
        dropped yet: summaries are for verified organisations, and not every model encrypts."""
        said = _said(error)
        message = str(said.get("message"))
        if said.get("param") == _SUMMARY and self._verified and model not in self._silent:
            if _UNVERIFIED in message:
                self._verified = False
            self._silent.add(model)
            return True
        if _ENCRYPTED in message and model not in self._bare:
            self._bare.add(model)
            return True
        return False


def _nobodys(_: str) -> None:
    """Accepts no encrypted content as the provider's own."""


def _said(error: UpstreamError) -> Mapping[str, Any]:
    """The object inside the provider's error envelope; empty where it has none."""
    body = getattr(error, "body", None)
    said = body.get("error") if isinstance(body, Mapping) else None
    return said if isinstance(said, Mapping) else {}


def _is_about_thoughts(error: UpstreamError) -> bool:
    """Whether reasoning of an earlier turn is refused: its key is lost, or its place is wrong."""
    said = _said(error)
    refused = said.get("code") == "invalid_encrypted_content"
    return refused or _REASONING_ITEM.match(str(said.get("message"))) is not None


def _read_chunks(
    answer: ResponseChunks, events: Any, chunks: list[SseEvent]
) -> UpstreamError | None:
    """Appends to chunks. Returns the error of the event after the last of them."""
    try:
        for event in events:
            for chunk in answer.chunks(fitted(event.json(), EVENT)):
                chunks.append(SseEvent(orjson.dumps(chunk), parsed=chunk))
            if answer.done:
                return None
    except UpstreamError as error:
        return error
    return None
