"""Converts OpenAI's chat messages to input items of its Responses API.

Each message is converted in the same way wherever it stands, so that a growing conversation keeps
its prefix byte for byte, which the prompt cache depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from server.upstream.dialect import InexpressibleError, image_url, parts
from server.upstream.history import mended, targets
from server.upstream.openai_responses.thoughts import Item, Thought

# Opens the thought in an entry of reasoning_details; None for one that is not this model's.
Open = Callable[[object], Thought | None]
# The name of a file without one: the API requires it.
_FILE_NAME: Final = "document.pdf"


def input_items(given: Sequence[Mapping[str, Any]], opened: Open) -> list[Item]:
    """Converts the conversation. Raises InexpressibleError."""
    messages = mended(given, targets.RESPONSES)
    custom: set[str] = set()
    return [item for message in messages for item in _items(message, opened, custom)]


def _items(message: Mapping[str, Any], opened: Open, custom: set[str]) -> Iterator[Item]:
    """The items of a message. custom: ids of the calls of custom tools so far."""
    match message["role"]:
        case "assistant":
            yield from _said(message, opened, custom)
        case "tool":
            yield _output(message, custom)
        case "function":
            raise InexpressibleError("functions: use tools")
        case role:
            content = message.get("content")
            shown = content if isinstance(content, str) else [_part(p) for p in parts(content)]
            yield {"type": "message", "role": role, "content": shown}


def _said(message: Mapping[str, Any], opened: Open, custom: set[str]) -> Iterator[Item]:
    if message.get("audio"):
        raise InexpressibleError("an earlier answer in audio")
    if message.get("function_call"):
        raise InexpressibleError("functions: use tools")
    thoughts = [t for e in _details(message) if (t := opened(e.get("data"))) is not None]
    items = [*_message(message), *(_call(c, custom) for c in message.get("tool_calls") or ())]
    for item in items:
        # A thought whose following item the caller has dropped would be refused.
        mine = [t for t in thoughts if t.before == item.get("call_id")]
        yield from (dict(thought.item) for thought in mine)
        phase = next((t.phase for t in mine if t.phase is not None), None)
        yield item if phase is None else item | {"phase": phase}


def _details(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = message.get("reasoning_details")
    for entry in details if isinstance(details, list) else ():
        if isinstance(entry, Mapping):
            yield entry


def _message(message: Mapping[str, Any]) -> Iterator[Item]:
    texts, refusals = [], [str(message["refusal"])] if message.get("refusal") else []
    for part in parts(message.get("content")):
        if part["type"] == "refusal":
            refusals.append(str(part.get("refusal", "")))
        elif part["type"] == "text":
            texts.append(str(part.get("text", "")))
        else:
            raise InexpressibleError(f"{str(part['type'])[:40]} parts of the assistant")
    text = "".join(texts)
    content: object = text
    if refusals:
        said = [{"type": "output_text", "text": text, "annotations": []}] if text else []
        content = [*said, *({"type": "refusal", "refusal": refusal} for refusal in refusals)]
    if content:
        yield {"type": "message", "role": "assistant", "content": content}


def _call(call: Mapping[str, Any], custom: set[str]) -> Item:
    call_id = str(call["id"])
    tool = call.get("custom")
    if isinstance(tool, Mapping):
        custom.add(call_id)
        return {
            "type": "custom_tool_call",
            "call_id": call_id,
            "name": tool.get("name"),
            "input": tool.get("input") or "",
        }
    function = call.get("function")
    if not isinstance(function, Mapping):
        raise InexpressibleError("calls that are neither of functions nor of custom tools")
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": function.get("name"),
        "arguments": function.get("arguments") or "{}",
    }


def _output(message: Mapping[str, Any], custom: set[str]) -> Item:
    call_id = str(message["tool_call_id"])
    kind = "custom_tool_call_output" if call_id in custom else "function_call_output"
    content = message.get("content")
    shown = [_part(part) for part in parts(content)]
    output: object = shown
    if all(part["type"] == "input_text" and len(part) == 2 for part in shown) and len(shown) < 2:
        output = "".join(part["text"] for part in shown)
    return {"type": kind, "call_id": call_id, "output": output}


def _part(part: Mapping[str, Any]) -> Item:
    shown = _bare_part(part)
    # The caller marks the end of a prefix to be cached.
    mark = part.get("prompt_cache_breakpoint")
    return shown if mark is None else shown | {"prompt_cache_breakpoint": mark}


def _bare_part(part: Mapping[str, Any]) -> Item:
    match part["type"]:
        case "text":
            return {"type": "input_text", "text": part.get("text", "")}
        case "refusal":
            return {"type": "input_text", "text": part.get("refusal", "")}
        case "image_url":
            image = part["image_url"]
            detail = image.get("detail") if isinstance(image, Mapping) else None
            return {"type": "input_image", "image_url": image_url(part), "detail": detail or "auto"}
        case "file":
            return _file(part)
        case kind:
            raise InexpressibleError(f"{str(kind)[:40]} parts")


def _file(part: Mapping[str, Any]) -> Item:
    file = part.get("file")
    given = file if isinstance(file, Mapping) else {}
    if given.get("file_id"):
        return {"type": "input_file", "file_id": given["file_id"]}
    if not given.get("file_data"):
        raise InexpressibleError("a file without data")
    name = given.get("filename") or _FILE_NAME
    return {"type": "input_file", "filename": name, "file_data": given["file_data"]}
