"""Converts chunks of a chat completion to the events of the Responses API, in OpenAI's order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from server.surfaces.responses.calls import OpenCall
from server.surfaces.responses.ids import new_id
from server.surfaces.responses.reply import (
    Item,
    ended,
    is_incomplete,
    message_item,
    reasoning_item,
    served_in,
    text_part,
    whole_logprobs,
)
from server.surfaces.responses.tools import Toolbox
from server.upstream.carried import carried

Event = dict[str, Any]


class ResponseStream:
    """Converts one streamed response. `response`: its state so far. tools: those of the request."""

    def __init__(self, response: Item, tools: Toolbox, *, with_thoughts: bool) -> None:
        self.response = response
        self._tools = tools
        self._with_thoughts = with_thoughts
        self._n_events = 0
        self._open: _OpenItem | None = None
        self._finish_reason: object = None
        self._usage: object = None

    def begin(self) -> Iterator[Event]:
        """The events before any content."""
        yield self._event("response.created", response=self.response)
        yield self._event("response.in_progress", response=self.response)

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """The events for one chunk."""
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]
        self.response = {**self.response, **served_in(chunk)}
        for choice in chunk.get("choices") or ():
            yield from self._delta(choice.get("delta") or {}, choice.get("logprobs") or {})
            self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def end(self) -> Iterator[Event]:
        """The events after the last chunk."""
        yield from self._close(cut=is_incomplete(self._finish_reason))
        if not self.response["output"]:
            yield from self._text("output_text", "", [])
            yield from self._close()
        self.response = ended(self.response, self._finish_reason, self._usage)
        yield self._event(f"response.{self.response['status']}", response=self.response)

    def error(self, code: str, message: str) -> Event:
        """The event that ends a response that broke off."""
        return self._event("error", code=code, message=message, param=None)

    def _delta(self, delta: Mapping[str, Any], logprobs: Mapping[str, Any]) -> Iterator[Event]:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            yield from self._reasoning(reasoning)
        thoughts = carried(delta) if self._with_thoughts else []
        if thoughts or delta.get("thinking_blocks"):
            yield from self._thoughts(thoughts)
        if delta.get("content"):
            yield from self._text("output_text", delta["content"], whole_logprobs(logprobs))
        if delta.get("refusal"):
            yield from self._text("refusal", delta["refusal"], [])
        for call in delta.get("tool_calls") or ():
            yield from self._call(call)

    def _reasoning(self, text: str) -> Iterator[Event]:
        if self._open is None or self._open.kind != "reasoning":
            item = reasoning_item(new_id("rs"), "", None)
            yield from self._start("reasoning", item)
            part = {"type": "summary_text", "text": ""}
            yield self._at("response.reasoning_summary_part.added", summary_index=0, part=part)
        yield self._more("response.reasoning_summary_text.delta", text, summary_index=0)

    def _thoughts(self, blocks: list[Any]) -> Iterator[Event]:
        if self._open is None or self._open.kind != "reasoning":
            yield from self._start("reasoning", reasoning_item(new_id("rs"), "", None))
        if self._open is not None:
            self._open.thoughts += blocks

    def _text(self, kind: str, text: str, logprobs: list[Any]) -> Iterator[Event]:
        if self._open is None or self._open.kind != kind:
            yield from self._start(kind, message_item(new_id("msg"), [], "in_progress"))
            part = _part(kind, "", [])
            yield self._at("response.content_part.added", content_index=0, part=part)
        if not text:
            return
        if kind == "refusal":
            yield self._more("response.refusal.delta", text, content_index=0)
            return
        if self._open is not None:
            self._open.logprobs += logprobs
        yield self._more("response.output_text.delta", text, content_index=0, logprobs=logprobs)

    def _call(self, call: Mapping[str, Any]) -> Iterator[Event]:
        function = call.get("function") or {}
        index = call.get("index", 0)
        opened = self._open
        if opened is None or opened.kind != "call" or opened.index != index:
            begun = OpenCall(call, self._tools)
            yield from self._start("call", begun.item, index, begun)
        if function.get("arguments") and self._open is not None and self._open.call is not None:
            for event in self._open.call.more(function["arguments"]):
                yield self._at(event.pop("type"), **event)

    def _start(
        self, kind: str, item: Item, index: int = 0, call: OpenCall | None = None
    ) -> Iterator[Event]:
        yield from self._close()
        self._open = _OpenItem(kind, item, index, call)
        yield self._event(
            "response.output_item.added", output_index=len(self.response["output"]), item=item
        )

    def _close(self, *, cut: bool = False) -> Iterator[Event]:
        opened = self._open
        if opened is None:
            return
        text = "".join(opened.texts)
        match opened.kind:
            case "reasoning":
                if text:
                    part = {"type": "summary_text", "text": text}
                    where = {"summary_index": 0}
                    yield self._at("response.reasoning_summary_text.done", text=text, **where)
                    yield self._at("response.reasoning_summary_part.done", part=part, **where)
                item = reasoning_item(opened.item["id"], text, opened.thoughts or None)
            case "call" if opened.call is not None:
                for event in opened.call.end(cut=cut):
                    yield self._at(event.pop("type"), **event)
                item = opened.call.item
            case kind:
                part = _part(kind, text, opened.logprobs)
                yield self._text_done(kind, text, opened.logprobs)
                yield self._at("response.content_part.done", content_index=0, part=part)
                item = message_item(opened.item["id"], [part])
        yield self._event(
            "response.output_item.done", output_index=len(self.response["output"]), item=item
        )
        self.response = {**self.response, "output": [*self.response["output"], item]}
        self._open = None

    def _text_done(self, kind: str, text: str, logprobs: list[Any]) -> Event:
        if kind == "refusal":
            return self._at("response.refusal.done", content_index=0, refusal=text)
        return self._at("response.output_text.done", content_index=0, text=text, logprobs=logprobs)

    def _more(self, kind: str, text: str, **fields: Any) -> Event:
        if self._open is not None:
            self._open.texts.append(text)
        return self._at(kind, delta=text, **fields)

    def _at(self, kind: str, **fields: Any) -> Event:
        """An event of the open item."""
        identifier = self._open.item["id"] if self._open is not None else None
        index = len(self.response["output"])
        return self._event(kind, item_id=identifier, output_index=index, **fields)

    def _event(self, kind: str, **fields: Any) -> Event:
        number = self._n_events
        self._n_events += 1
        return {"type": kind, "sequence_number": number, **fields}


class _OpenItem:
    """The item that is being streamed. index, call: those of a tool call."""

    def __init__(self, kind: str, item: Item, index: int, call: OpenCall | None) -> None:
        self.kind = kind
        self.item = item
        self.index = index
        self.call = call
        self.texts: list[str] = []
        self.logprobs: list[Any] = []
        self.thoughts: list[Any] = []


def _part(kind: str, text: str, logprobs: list[Any]) -> Item:
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return text_part(text, logprobs)
