"""Converts the events of the Messages API to chat-completion chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from server.upstream.anthropic.reply import finish_reason, usage_of
from server.upstream.anthropic.shapes import EVENT, PIECE
from server.upstream.mending.words import new_completion_id
from server.wire.shapes import fitted, part

Chunk = dict[str, Any]


class MessageStream:
    """Converts one streamed answer. `done` is true once its last event has come."""

    def __init__(self, created: int) -> None:
        self.done = False
        self._head: Chunk = {
            "object": "chat.completion.chunk",
            "created": created,
            "id": new_completion_id(),
            "model": None,
        }
        self._begun = False
        self._n_calls = 0
        self._block: dict[str, Any] = {}
        self._fragments: list[str] = []
        self._usage: dict[str, Any] = {}
        self._stop_reason: object = None

    @property
    def usage(self) -> Chunk | None:
        """The usage reported so far, in OpenAI's form."""
        return usage_of(self._usage)

    def chunks(self, event: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunks for one event; none for a ping."""
        event = fitted(event, EVENT)
        match event.get("type"):
            case "message_start":
                self._start(part(event, "message"))
            case "content_block_start":
                yield from self._open(part(event, "content_block"))
            case "content_block_delta":
                yield from self._more(part(fitted(event, PIECE), "delta"))
            case "content_block_stop":
                yield from self._close()
            case "message_delta":
                self._stop_reason = part(event, "delta").get("stop_reason")
                self._count(event.get("usage"))
            case "message_stop":
                yield from self._end()

    def _start(self, message: Mapping[str, Any]) -> None:
        told = {"id": message.get("id"), "model": message.get("model")}
        self._head |= {name: value for name, value in told.items() if value is not None}
        self._count(message.get("usage"))

    def _count(self, usage: object) -> None:
        # Counts are cumulative; those that a later event does not repeat still hold.
        if isinstance(usage, Mapping):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _open(self, block: Mapping[str, Any]) -> Iterator[Chunk]:
        self._block = dict(block)
        self._fragments = []
        if block.get("type") == "tool_use":
            function = {"name": block.get("name"), "arguments": ""}
            yield self._call({"id": block.get("id"), "type": "function", "function": function})
        elif block.get("type") == "text" and block.get("text"):
            yield self._delta({"content": block["text"]})

    def _more(self, delta: Mapping[str, Any]) -> Iterator[Chunk]:
        match delta.get("type"):
            case "text_delta":
                yield self._delta({"content": delta["text"]})
            case "input_json_delta" if delta.get("partial_json"):
                self._fragments.append(delta["partial_json"])
                yield self._call({"function": {"arguments": delta["partial_json"]}})
            case "thinking_delta":
                self._fragments.append(delta["thinking"])
                yield self._delta({"reasoning_content": delta["thinking"]})
            case "signature_delta":
                self._block["signature"] = delta["signature"]

    def _close(self) -> Iterator[Chunk]:
        block, text = self._block, "".join(self._fragments)
        match block.get("type"):
            case "tool_use":
                if not text:
                    yield self._call({"function": {"arguments": "{}"}})
                self._n_calls += 1
            case "thinking":
                yield self._delta({"thinking_blocks": [block | {"thinking": text}]})
            case "redacted_thinking":
                yield self._delta({"thinking_blocks": [block]})
        self._block = {}

    def _end(self) -> Iterator[Chunk]:
        self.done = True
        yield self._chunk({} if self._begun else {"role": "assistant", "content": ""}, ended=True)
        usage = usage_of(self._usage)
        if usage is not None:
            yield {**self._head, "choices": [], "usage": usage}

    def _call(self, call: Chunk) -> Chunk:
        return self._delta({"tool_calls": [{"index": self._n_calls, **call}]})

    def _delta(self, delta: Chunk) -> Chunk:
        if not self._begun:
            # This is not set at message_start: until there is content, another model can still
            # answer.
            self._begun = True
            delta = {"role": "assistant", **delta}
        return self._chunk(delta)

    def _chunk(self, delta: Chunk, *, ended: bool = False) -> Chunk:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        if ended:
            # An answer that ends without a reason did not end properly.
            ended_well = self._stop_reason is not None
            choice["finish_reason"] = finish_reason(self._stop_reason) if ended_well else None
            choice["native_finish_reason"] = self._stop_reason
        return {**self._head, "choices": [choice]}
