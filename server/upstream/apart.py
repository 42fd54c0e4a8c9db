"""Takes a whole answer apart into the events of a stream: some servers never stream, whatever they
are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from server.upstream.mending.calls import arguments_text
from server.wire.shapes import OBJECTS, TEXT, Fields, fitted, objects, word
from server.wire.sse import SseEvent

Json = dict[str, Any]
# The last event of a response, by its status.
_LAST: Final = {"": "completed", "completed": "completed", "incomplete": "incomplete",
                "failed": "failed"}  # fmt: skip
_MESSAGE: Final = Fields(("content",), content=OBJECTS, usage=Fields())
_RESPONSE: Final = Fields(("output",), output=OBJECTS, status=TEXT)
# The field of an item that is streamed, by the item's type, and the name of its events.
_CALLS: Final = {
    "function_call": ("arguments", "function_call_arguments"),
    "custom_tool_call": ("input", "custom_tool_call_input"),
}
# The same for the parts of a message.
_PARTS: Final = {"output_text": ("text", "output_text"), "refusal": ("refusal", "refusal")}


def message_events(message: Mapping[str, Any]) -> Iterator[SseEvent]:
    """The events of a message of the Messages API; none for something else."""
    said = fitted(message, _MESSAGE)
    blocks = said.get("content")
    if blocks is None:
        return
    usage = said.get("usage")
    begun = {**said, "content": [], "stop_reason": None, "stop_sequence": None}
    if usage is not None:
        begun["usage"] = {**usage, "output_tokens": 0}
    yield _named({"type": "message_start", "message": begun})
    for index, block in enumerate(blocks):
        bare, deltas = _block(block)
        yield _named({"type": "content_block_start", "index": index, "content_block": bare})
        for delta in deltas:
            yield _named({"type": "content_block_delta", "index": index, "delta": delta})
        yield _named({"type": "content_block_stop", "index": index})
    # An answer that is whole has ended, even where it does not say why.
    reason = said.get("stop_reason") or "end_turn"
    end = {"stop_reason": reason, "stop_sequence": said.get("stop_sequence")}
    last: Json = {"type": "message_delta", "delta": end}
    yield _named(last if usage is None else {**last, "usage": usage})
    yield _named({"type": "message_stop"})


def _block(block: Json) -> tuple[Json, list[Json]]:
    """A block as it begins, and its deltas; a block of another type begins with all that it has."""
    match block.get("type"):
        case "text":
            cited = block.get("citations")
            cited = cited if isinstance(cited, list) else []
            deltas = [{"type": "text_delta", "text": word(block.get("text"))}]
            deltas += [{"type": "citations_delta", "citation": one} for one in cited]
            return {**block, "text": "", "citations": [] if cited else None}, deltas
        case "thinking":
            signed = word(block.get("signature"))
            deltas = [{"type": "thinking_delta", "thinking": word(block.get("thinking"))}]
            deltas += [{"type": "signature_delta", "signature": signed}] if signed else []
            return {**block, "thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            text = arguments_text(block.get("input"))
            delta = {"type": "input_json_delta", "partial_json": text}
            return {**block, "input": {}}, [delta] if text else []
        case _:
            return block, []


def response_events(response: Mapping[str, Any]) -> Iterator[SseEvent]:
    """The events of a response of the Responses API; none for something else, and for a response
    that is not finished."""
    said = fitted(response, _RESPONSE)
    end = _LAST.get(said.get("status") or "")
    if "output" not in said or end is None:
        return
    begun = {**said, "status": "in_progress", "output": [], "usage": None, "error": None}
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for place, item in enumerate(said["output"] if end != "failed" else ()):
        events += _item(item, place)
    events.append({"type": f"response.{end}", "response": said})
    for number, event in enumerate(events):
        yield _named({**event, "sequence_number": number})


def _item(item: Json, place: int) -> Iterator[Json]:
    kind = word(item.get("type"))
    at = {"item_id": item.get("id"), "output_index": place}
    bare, inside = item, []
    if kind in _CALLS:
        field, name = _CALLS[kind]
        text = arguments_text(item.get(field))
        bare = {**item, field: "", "status": "in_progress"}
        inside = [{"type": f"response.{name}.delta", **at, "delta": text}] if text else []
        inside.append({"type": f"response.{name}.done", **at, field: text})
    elif kind == "message":
        bare = {**item, "content": [], "status": "in_progress"}
        inside = list(_parts(item.get("content"), at))
    elif kind == "reasoning":
        bare = {**item, "summary": []}
        inside = list(_summary(item.get("summary"), at))
    yield {"type": "response.output_item.added", "output_index": place, "item": bare}
    yield from inside
    yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _parts(content: object, at: Json) -> Iterator[Json]:
    for number, part in enumerate(objects(content)):
        here = {**at, "content_index": number}
        found = _PARTS.get(word(part.get("type")))
        field, name = found or ("", "")
        text = word(part.get(field))
        bare = {**part, field: ""} if found else part
        yield {"type": "response.content_part.added", **here, "part": bare}
        if found:
            told = part.get("logprobs")
            more = {"logprobs": told if isinstance(told, list) else []}
            more = more if field == "text" else {}
            yield {"type": f"response.{name}.delta", **here, "delta": text, **more}
            yield {"type": f"response.{name}.done", **here, field: text, **more}
        yield {"type": "response.content_part.done", **here, "part": part}


def _summary(summary: object, at: Json) -> Iterator[Json]:
    for number, part in enumerate(objects(summary)):
        here = {**at, "summary_index": number}
        text, name = word(part.get("text")), "response.reasoning_summary"
        yield {"type": f"{name}_part.added", **here, "part": {**part, "text": ""}}
        yield {"type": f"{name}_text.delta", **here, "delta": text}
        yield {"type": f"{name}_text.done", **here, "text": text}
        yield {"type": f"{name}_part.done", **here, "part": part}


def _named(event: Json) -> SseEvent:
    return SseEvent(orjson.dumps(event), event["type"].encode(), event)
