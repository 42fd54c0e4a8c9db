"""Converts chat completions, whole and streamed, to Anthropic's messages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from server.upstream.carried import sealed_in
from server.upstream.seal import UNSIGNED
from server.wire.usage import parse_usage

Event = dict[str, Any]
_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_CHARACTERS_PER_TOKEN: Final = 4
_DELTAS: Final = {"text": "text_delta", "thinking": "thinking_delta"}


def to_message(completion: Mapping[str, Any], model: str) -> Event:
    """Converts a whole answer."""
    choice = completion["choices"][0]
    said = choice["message"]
    blocks: list[Event] = []
    reasoning = said.get("reasoning_content") or said.get("reasoning")
    kept = list(sealed_in(said))
    if reasoning:
        signature = kept.pop(0) if kept else UNSIGNED
        blocks.append({"type": "thinking", "thinking": reasoning, "signature": signature})
    blocks += [{"type": "redacted_thinking", "data": data} for data in kept]
    text = said.get("content") or said.get("refusal")
    if text:
        blocks.append({"type": "text", "text": text})
    for call in said.get("tool_calls") or ():
        arguments = _object(call["function"].get("arguments"))
        if arguments is not None:
            blocks.append(_tool_use(call, arguments))
    return {
        **_blank(model),
        "content": blocks,
        "stop_reason": _stop_reason(
            choice.get("finish_reason"), called=bool(said.get("tool_calls"))
        ),
        "usage": _usage(completion.get("usage")),
    }


class MessageEvents:
    """Converts one streamed answer. input_tokens: an estimate; the exact number is known only at
    the end, but some clients read it only at the beginning."""

    def __init__(self, model: str, input_tokens: int = 0) -> None:
        self._model = model
        self._input_tokens = input_tokens
        self._index = -1
        self._kind = ""
        self._signature = UNSIGNED
        self._call = -1
        self._finish_reason: object = "stop"
        self._usage: object = None
        self._n_characters = 0

    def begin(self) -> Iterator[Event]:
        """The events before any content."""
        usage = {"input_tokens": self._input_tokens, "output_tokens": 0}
        yield {"type": "message_start", "message": {**_blank(self._model), "usage": usage}}
        yield {"type": "ping"}

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """The events for one chunk."""
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]
        for choice in chunk.get("choices") or ():
            yield from self._delta(choice.get("delta") or {})
            if choice.get("finish_reason"):
                self._finish_reason = choice["finish_reason"]

    def end(self) -> Iterator[Event]:
        """The events after the last chunk."""
        yield from self._close()
        stop_reason = _stop_reason(self._finish_reason, called=self._call >= 0)
        delta = {"stop_reason": stop_reason, "stop_sequence": None}
        usage = self._estimate() if parse_usage(self._usage) is None else _usage(self._usage)
        yield {"type": "message_delta", "delta": delta, "usage": usage}
        yield {"type": "message_stop"}

    def _estimate(self) -> Event:
        """The usage of a server that reports none: clients count on it."""
        output = -(-self._n_characters // _CHARACTERS_PER_TOKEN)
        return {"input_tokens": self._input_tokens, "output_tokens": output}

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            yield from self._say("thinking", reasoning)
        for data in sealed_in(delta):
            yield from self._keep(data)
        text = delta.get("content") or delta.get("refusal")
        if text:
            yield from self._say("text", text)
        for call in delta.get("tool_calls") or ():
            yield from self._tool(call)

    def _say(self, kind: str, text: str) -> Iterator[Event]:
        if self._kind != kind:
            blank = {"type": kind, kind: ""} | ({"signature": ""} if kind == "thinking" else {})
            yield from self._open(kind, blank)
        self._n_characters += len(text)
        yield self._more({"type": _DELTAS[kind], kind: text})

    def _keep(self, data: str) -> Iterator[Event]:
        """The events for reasoning that the caller is to send back, with or without its visible
        text."""
        if self._kind == "thinking":
            self._signature = data
        else:
            yield from self._open("redacted_thinking", {"type": "redacted_thinking", "data": data})
        yield from self._close()

    def _tool(self, call: Mapping[str, Any]) -> Iterator[Event]:
        number = call.get("index", 0)
        if self._kind != "tool_use" or self._call != number:
            self._call = number
            yield from self._open("tool_use", _tool_use(call, {}))
        arguments = (call.get("function") or {}).get("arguments")
        if arguments:
            self._n_characters += len(arguments)
            yield self._more({"type": "input_json_delta", "partial_json": arguments})

    def _open(self, kind: str, block: Event) -> Iterator[Event]:
        yield from self._close()
        self._index += 1
        self._kind = kind
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def _close(self) -> Iterator[Event]:
        if self._kind == "thinking":
            yield self._more({"type": "signature_delta", "signature": self._signature})
            self._signature = UNSIGNED
        if self._kind:
            yield {"type": "content_block_stop", "index": self._index}
        self._kind = ""

    def _more(self, delta: Event) -> Event:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}


def _blank(model: str) -> Event:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop_reason(finish_reason: object, *, called: bool) -> str:
    """The stop reason, decided by the content: some providers end a turn of calls with "stop", or
    report "tool_calls" without a call. called: whether the answer calls a tool."""
    if called and finish_reason in ("stop", "tool_calls"):
        return "tool_use"
    found = _STOP_REASONS.get(str(finish_reason), "end_turn")
    return "end_turn" if found == "tool_use" else found


def _usage(usage: object) -> Event:
    """The usage in Anthropic's form: input_tokens excludes cached tokens."""
    parsed = parse_usage(usage)
    if parsed is None:
        return {"input_tokens": 0, "output_tokens": 0}
    written = parsed.cache_write_tokens + parsed.cache_write_1h_tokens
    out: Event = {
        "input_tokens": max(0, parsed.prompt_tokens - parsed.cached_tokens - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": parsed.cached_tokens,
        "output_tokens": parsed.completion_tokens,
    }
    cost = usage.get("cost") if isinstance(usage, dict) else None
    return out if cost is None else out | {"cost": cost}


def _tool_use(call: Mapping[str, Any], arguments: object) -> Event:
    name = (call.get("function") or {}).get("name")
    return {"type": "tool_use", "id": call.get("id"), "name": name, "input": arguments}


def _object(arguments: object) -> object:
    """The arguments as an object; None where the answer was cut off within them, since half a call
    is better left out."""
    try:
        return orjson.loads(str(arguments or "{}"))
    except orjson.JSONDecodeError:
        return None
