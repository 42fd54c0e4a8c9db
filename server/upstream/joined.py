"""Joins a stream into one whole answer: some servers always stream, whatever they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from server.upstream.anthropic.shapes import EVENT, PIECE
from server.upstream.errors import UpstreamError, error_within
from server.upstream.gemini.shapes import ANSWER
from server.upstream.mending.blocks import MessageBlocks
from server.upstream.mending.calls import INPUT, whole_arguments
from server.upstream.mending.names import ToolNames
from server.upstream.mending.stream import ChatStream, unfinished
from server.upstream.said import error_in
from server.upstream.wire import json_object
from server.wire.shapes import TEXT, WHOLE, Each, Fields, fitted, part, word
from server.wire.sse import DONE_PAYLOAD, SseEvent, SseParser
from server.wire.surface import Surface

Json = dict[str, Any]
# Where the pieces of an input stand until it is whole.
_INPUT: Final = "partial_json"
_PIECES: Final = Fields((), choices=Each(Fields((), index=WHOLE, text=TEXT)))
_WHOLE: Final = ("response.completed", "response.incomplete", "response.failed")


def joined(provider: str, surface: Surface, content: bytes, tools: object = None) -> Json | None:
    """The whole answer on a surface; None for content that holds none. tools: those of the request.

    Raises UpstreamError for a stream that reports an error, or ends before its answer does.
    """
    if surface is Surface.CHAT:
        return _chat(provider, content, tools)
    join = _JOINS.get(surface)
    return None if join is None else join(provider, content)


def joined_content(provider: str, content: bytes) -> Json | None:
    """As `joined`, for an answer of Gemini's API."""
    body: Json = {}
    candidates: dict[int, Json] = {}
    for parsed in _parsed(provider, content):
        event = fitted(parsed, ANSWER)
        body |= {name: value for name, value in event.items() if value is not None}
        for number, came in enumerate(event.get("candidates") or ()):
            index = came.get("index")
            index = number if index is None else index
            known = candidates.setdefault(index, {"content": {"parts": []}, "index": index})
            parts = [*known["content"]["parts"], *(part(came, "content").get("parts") or ())]
            known |= {name: value for name, value in came.items() if value is not None}
            known["content"] = {"role": "model", "parts": parts}
    if any(not known.get("finishReason") for known in candidates.values()):
        raise unfinished(provider)
    if candidates:
        body["candidates"] = [candidates[index] for index in sorted(candidates)]
    return body or None


def _response(provider: str, content: bytes) -> Json | None:
    done: list[Json] = []
    for parsed in _parsed(provider, content):
        response, item = parsed.get("response"), parsed.get("item")
        if parsed.get("type") == "response.output_item.done" and isinstance(item, dict):
            done.append(item)
        if parsed.get("type") in _WHOLE and isinstance(response, dict):
            # Some servers leave out of the last event what the others have brought.
            return response if response.get("output") or not done else {**response, "output": done}
    return None


def _completion(provider: str, content: bytes) -> Json | None:
    body: Json = {}
    choices: dict[int, Json] = {}
    for parsed in _parsed(provider, content):
        body |= {name: value for name, value in parsed.items() if value is not None}
        for number, came in enumerate(fitted(parsed, _PIECES).get("choices") or ()):
            index = came.get("index")
            known = choices.setdefault(number if index is None else index, {"text": ""})
            text = known["text"] + (came.get("text") or "")
            known |= {name: value for name, value in came.items() if value is not None}
            known["text"] = text
    if not choices:
        return None
    if any(known.get("finish_reason") is None for known in choices.values()):
        raise unfinished(provider)
    blank = {"logprobs": None}
    return {**body, "choices": [{"index": n, **blank, **choices[n]} for n in sorted(choices)]}


def _message(provider: str, content: bytes) -> Json | None:
    made = _Message()
    blocks = MessageBlocks(provider)
    try:
        for parsed in _parsed(provider, content):
            made.take(blocks.take(parsed))
        if made.body is not None and not blocks.has_ended:
            raise unfinished(provider)
    except UpstreamError as error:
        error.reported = made.body
        raise
    return made.body


class _Message:
    """A message of the Messages API that is put together from its events. body: as far as it has
    come; None before its beginning."""

    def __init__(self) -> None:
        self.body: Json | None = None

    def take(self, event: Json) -> None:
        """Adds an event."""
        event = fitted(event, EVENT)
        body, kind = self.body, event.get("type")
        if kind == "message_start":
            self.body = {**part(event, "message"), "content": []}
        elif body is not None and kind == "content_block_start":
            body["content"].append(dict(part(event, "content_block")))
        elif body is not None and kind == "content_block_delta" and body["content"]:
            _add_piece(body["content"][-1], part(fitted(event, PIECE), "delta"))
        elif body is not None and kind == "content_block_stop" and body["content"]:
            _close_block(body["content"][-1])
        elif body is not None and kind == "message_delta":
            body |= part(event, "delta")
            counted = {n: v for n, v in part(event, "usage").items() if v is not None}
            if counted:
                body["usage"] = {**part(body, "usage"), **counted}


def _add_piece(block: Json, delta: Mapping[str, Any]) -> None:
    match delta.get("type"):
        case "text_delta":
            block["text"] = word(block.get("text")) + delta["text"]
        case "thinking_delta":
            block["thinking"] = word(block.get("thinking")) + delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            block[_INPUT] = block.get(_INPUT, "") + (delta.get("partial_json") or "")
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta.get("citation")]


def _close_block(block: Json) -> None:
    text = block.pop(_INPUT, None)
    if text is not None:
        # Half an input belongs to an answer that was cut off; any other one has failed.
        block["input"] = json_object((whole_arguments(text) or "{}").encode()) or {}


def _chat(provider: str, content: bytes, tools: object) -> Json | None:
    stream = ChatStream(provider, ToolNames(tools))
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
    _add_logprobs(choice, came.get("logprobs"))
    message = choice["message"]
    for name, value in (came.get("delta") or {}).items():
        if name == "tool_calls":
            for call in value or ():
                _add_call(message.setdefault("tool_calls", []), call)
        elif isinstance(value, str) and name != "role":
            message[name] = word(message.get(name)) + value
        elif value is not None:
            message[name] = value


def _add_logprobs(choice: Json, came: object) -> None:
    for name, told in came.items() if isinstance(came, Mapping) else ():
        if isinstance(told, list):
            known = choice.get("logprobs") or {"content": None, "refusal": None}
            choice["logprobs"] = {**known, name: [*(known.get(name) or ()), *told]}


def _add_call(calls: list[Json], came: Mapping[str, Any]) -> None:
    index = int(came["index"])
    kind = "custom" if "custom" in came else "function"
    text = INPUT[kind]
    given = came.get(kind) or {}
    # A signature of the call, for example.
    more = {n: v for n, v in came.items() if n not in ("index", kind) and v is not None}
    if index >= len(calls):
        calls.append({"id": None, "type": kind, **more, kind: {"name": "", text: "", **given}})
        return
    calls[index] |= more
    inside = calls[index].setdefault(kind, {"name": "", text: ""})
    inside[text] += given.get(text) or ""


_JOINS: Final[Mapping[Surface, Callable[[str, bytes], Json | None]]] = {
    Surface.COMPLETIONS: _completion,
    Surface.MESSAGES: _message,
    Surface.RESPONSES: _response,
}
