"""Converts OpenAI's messages to Anthropic's turns of content blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from server.adapting.stand_ins import EMPTY
from server.upstream.anthropic.native import Own
from server.upstream.dialect import (
    InexpressibleError,
    arguments_of,
    data_url,
    file_data,
    image_url,
    parts,
    text_of,
)
from server.upstream.history import mended, targets
from server.upstream.image_types import image_type
from server.upstream.signatures import is_thought

Block = dict[str, Any]
_SYSTEM: Final = frozenset({"system", "developer"})
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def system_and_turns(
    given: Sequence[Mapping[str, Any]], own: Own
) -> tuple[list[Block], list[Block]]:
    """Returns (system blocks, turns); adjacent turns of one role are merged. own: see Own. Raises
    InexpressibleError."""
    messages = mended(given, targets.ANTHROPIC)
    n_system = 0
    while n_system < len(messages) and messages[n_system]["role"] in _SYSTEM:
        n_system += 1
    system = [block for m in messages[:n_system] for block in _text_blocks(m.get("content"))]
    turns: list[Block] = []
    for message in messages[n_system:]:
        role, blocks = _turn(message, own)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
        elif role == "user":
            # spaces alone are no text that the provider takes
            turns.append({"role": role, "content": [{"type": "text", "text": EMPTY}]})
    if turns[-1]["role"] != "user":
        raise InexpressibleError("an answer that is begun by the caller")
    return system, turns


def _turn(message: Mapping[str, Any], own: Own) -> tuple[str, list[Block]]:
    role = message["role"]
    if role == "tool":
        return "user", [_tool_result(message)]
    if role == "assistant":
        return "assistant", list(_said(message, own))
    blocks = [_block(part) for part in parts(message.get("content")) if not _is_empty(part)]
    return "user", blocks


def _said(message: Mapping[str, Any], own: Own) -> Iterator[Block]:
    thoughts = message.get("thinking_blocks")
    for block in thoughts if isinstance(thoughts, list) else ():
        # A thought of another provider would be refused.
        if is_thought(block) and (taken := own(block)) is not None:
            yield dict(taken)
    text = text_of(message.get("content"))
    if text.strip():
        yield {"type": "text", "text": text}
    for call in message.get("tool_calls") or ():
        name = (call.get("function") or {}).get("name")
        yield {
            "type": "tool_use",
            "id": call["id"],
            "name": name,
            "input": arguments_of(call),
        }


def _tool_result(message: Mapping[str, Any]) -> Block:
    blocks = [_block(part) for part in parts(message.get("content")) if not _is_empty(part)]
    plain = len(blocks) == 1 and set(blocks[0]) == {"type", "text"}
    content = blocks[0]["text"] if plain else blocks
    return {
        "type": "tool_result",
        "tool_use_id": message["tool_call_id"],
        "content": content or "",
    }


def _text_blocks(content: object) -> list[Block]:
    if any(part["type"] != "text" for part in parts(content)):
        raise InexpressibleError("anything but text in system messages")
    return [_block(part) for part in parts(content) if not _is_empty(part)]


def _is_empty(part: Mapping[str, Any]) -> bool:
    return part["type"] == "text" and not str(part.get("text", "")).strip()


def _block(part: Mapping[str, Any]) -> Block:
    block = _bare_block(part)
    if part.get("cache_control") is not None:
        block["cache_control"] = part["cache_control"]
    return block


def _bare_block(part: Mapping[str, Any]) -> Block:
    match part["type"]:
        case "text":
            return {"type": "text", "text": part["text"]}
        case "image_url":
            return {"type": "image", "source": _image_source(image_url(part))}
        case "file":
            return _document(part)
        case kind:
            raise InexpressibleError(f"{str(kind)[:40]} parts")


def _image_source(url: str) -> Block:
    data = data_url(url)
    if data is None:
        if not url.startswith(("https://", "http://")):
            raise InexpressibleError("an image that is neither a base64 data URL nor on the web")
        return {"type": "url", "url": url}
    content = data[1]
    kind = image_type(*data)
    if kind not in _IMAGES:
        raise InexpressibleError(f"images of type {kind}")
    return {"type": "base64", "media_type": kind, "data": content}


def _document(part: Mapping[str, Any]) -> Block:
    kind, content = file_data(part)
    if kind != "application/pdf":
        raise InexpressibleError(f"files of type {kind}")
    source = {"type": "base64", "media_type": kind, "data": content}
    title = part["file"].get("filename")
    return {"type": "document", "source": source} | ({"title": title} if title else {})
