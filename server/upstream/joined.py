"""Joins a stream into one whole answer: some servers always stream, whatever they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from server.upstream.errors import error_within
from server.upstream.mending.stream import ChatStream, unfinished
from server.upstream.said import error_in
from server.upstream.wire import json_object
from server.wire.sse import DONE_PAYLOAD, SseEvent, SseParser
from server.wire.surface import Surface

Json = dict[str, Any]
_WHOLE: Final = ("response.completed", "response.incomplete", "response.failed")


def joined(provider: str, surface: Surface, content: bytes) -> Json | None:
    """The whole answer of a chat completion or of a response; None for content that holds none.

    Raises UpstreamError for a stream that reports an error, or ends before its answer does.
    """
    if surface is Surface.RESPONSES:
        for parsed in _parsed(provider, content):
            if parsed.get("type") in _WHOLE and isinstance(parsed.get("response"), dict):
                response: Json = parsed["response"]
                return response
        return None
    return _chat(provider, content) if surface is Surface.CHAT else None


def _chat(provider: str, content: bytes) -> Json | None:
    stream = ChatStream(provider)
    chunks: list[Json] = []
    for parsed in _parsed(provider, content):
        event = SseEvent(b"", parsed=parsed)
        taken = stream.take(event)
        chunks += [one.json() for one in ([event] if taken is None else taken)]
    chunks += [one.json() for one in stream.end()]
    if not chunks:
        return None
    if stream.failure is not None:
        raise stream.failure
    if not stream.is_ended:
        raise unfinished(provider)
    return _whole(chunks)


def _parsed(provider: str, content: bytes) -> Iterator[Json]:
    parser = SseParser()
    for event in (*parser.feed(content), *parser.flush()):
        if event.data.strip() in (b"", DONE_PAYLOAD):
            continue
        parsed = json_object(event.data)
        if parsed is not None and (parsed.get("error") or event.name == b"error"):
            raise error_within(provider, error_in(event.data))
        if parsed is not None:
            yield parsed


def _whole(chunks: list[Json]) -> Json:
    body: Json = {"object": "chat.completion"}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name not in ("choices", "object") and value is not None:
                body[name] = value
        for choice in chunk.get("choices") or ():
            _add(choices.setdefault(choice["index"], _begun(choice["index"])), choice)
    return {**body, "choices": [choices[index] for index in sorted(choices)]}


def _begun(index: int) -> Json:
    message: Json = {"role": "assistant", "content": None}
    return {"index": index, "message": message, "finish_reason": None}


def _add(choice: Json, came: Mapping[str, Any]) -> None:
    if came.get("finish_reason") is not None:
        choice["finish_reason"] = came["finish_reason"]
    message = choice["message"]
    for name, value in (came.get("delta") or {}).items():
        if name == "tool_calls":
            for call in value or ():
                _add_call(message.setdefault("tool_calls", []), call)
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        elif value is not None:
            message[name] = value


def _add_call(calls: list[Json], came: Mapping[str, Any]) -> None:
    index = came["index"]
    if index >= len(calls):
        function = {"name": "", "arguments": "", **came["function"]}
        calls.append({"id": came.get("id"), "type": "function", "function": function})
        return
    function = calls[index]["function"]
    function["arguments"] += came["function"].get("arguments") or ""
