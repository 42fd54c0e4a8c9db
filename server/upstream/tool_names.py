"""Shortens names of tools that a provider does not accept, and restores them in the answer.

Tools of MCP servers have names of up to 128 characters, and most providers accept 64.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from server.upstream.base import Upstream, UpstreamReply, UpstreamRequest, UpstreamStream
from server.wire.messages import are_texts
from server.wire.sse import SseEvent

# The length and the characters that a provider accepts.
OPENAI_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
GEMINI_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
ANTHROPIC_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_NOT_TAKEN: Final = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST_CHARACTERS: Final = 8
# An alias begins with a letter, and has the length that the shortest limit allows.
_KEPT_CHARACTERS: Final = 64 - len("t_") - _DIGEST_CHARACTERS - len("_")
_KEYS: Final = frozenset({"name", "tool_name"})
# Fields with the caller's own text, which holds no names.
_WORDS: Final = frozenset(
    {"args", "arguments", "input_schema", "output", "parameters", "response", "text", "thinking"}
)
# Tools that the caller names, and calls of them; the names of other tools are the provider's.
_NAMED: Final = (
    *(None, "custom", "custom_tool_call", "function", "function_call", "namespace", "tool_use"),
)
_CALLS: Final = ("function_call", "custom_tool_call")
_TURNS: Final = ("messages", "input")


async def complete(upstream: Upstream, request: UpstreamRequest) -> UpstreamReply:
    """Upstream.complete, with names that the provider accepts."""
    aliases = (
        await _aliases(upstream, request)
        if request.progress.is_large
        else aliases_of(request.body, upstream.tool_names)
    )
    if not aliases:
        return await upstream.complete(request)
    reply = await upstream.complete(replace(request, body=with_aliases(request.body, aliases)))
    restore = partial(_Restorer(aliases).in_body, reply.body)
    return replace(reply, body=await asyncio.to_thread(restore) if reply.is_large else restore())


async def open_stream(upstream: Upstream, request: UpstreamRequest) -> UpstreamStream:
    """Upstream.open_stream, with names that the provider accepts."""
    aliases = (
        await _aliases(upstream, request)
        if request.progress.is_large
        else aliases_of(request.body, upstream.tool_names)
    )
    if not aliases:
        return await upstream.open_stream(request)
    stream = await upstream.open_stream(replace(request, body=with_aliases(request.body, aliases)))
    return await UpstreamStream.start_batches(_restored(stream, _Restorer(aliases)))


async def _aliases(upstream: Upstream, request: UpstreamRequest) -> dict[str, str]:
    return await asyncio.to_thread(aliases_of, request.body, upstream.tool_names)


def aliases_of(body: Mapping[str, Any], taken: re.Pattern[str]) -> dict[str, str]:
    """The alias of each tool name that the provider would refuse, by the caller's name. The same
    names always have the same aliases."""
    if "tools" not in body and are_texts(body.get("messages")) and "input" not in body:
        return {}
    names = dict.fromkeys(_names(body))
    refused = [name for name in names if not taken.fullmatch(name)]
    aliases: dict[str, str] = {}
    for name in sorted(refused):
        aliases[name] = _alias(name, {*names, *aliases.values()})
    return aliases


def with_aliases(body: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """A body of any surface with tools under their aliases."""
    places = ("tools", "tool_choice", *_TURNS)
    return {**body, **{place: _renamed(body[place], aliases) for place in places if place in body}}


def _names(body: Mapping[str, Any]) -> list[str]:
    """Every name of a tool in the body, in order."""
    names: list[str] = []
    for tool in _list(body.get("tools")):
        _take(tool, names)
    for place in _TURNS:
        for turn in _list(body.get(place)):
            if isinstance(turn, Mapping):
                _take_called(turn, names)
    return names


def _take_called(turn: Mapping[str, Any], names: list[str]) -> None:
    """Collects the names of called tools in a message, a turn or an item."""
    calls, content = turn.get("tool_calls"), turn.get("content")
    for call in calls if calls.__class__ is list else ():
        _take(call, names)
    for block in content if content.__class__ is list else ():
        if block.__class__ is dict and block.get("type") == "tool_use":
            _take(block, names)
    if "type" in turn:
        if turn["type"] in _CALLS:
            _take(turn, names)
        for tool in _list(turn.get("tools")):
            _take(tool, names)


def _take(tool: Any, names: list[str]) -> None:
    """Collects the name of a tool, or of a call of one, in the form of any surface."""
    if not isinstance(tool, Mapping) or tool.get("type") not in _NAMED:
        return
    for holder in (tool, tool.get("function"), tool.get("custom")):
        name = holder.get("name") if holder.__class__ is dict else None
        if isinstance(name, str) and name:
            names.append(name)
    for inner in _list(tool.get("tools")):
        _take(inner, names)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _alias(name: str, taken: set[str]) -> str:
    """The beginning of the name, with a suffix that keeps it unique."""
    said = _NOT_TAKEN.sub("_", name)[:_KEPT_CHARACTERS]
    times = 0
    while True:
        text = f"{name}\n{times}" if times else name
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
        alias = f"{said if said[:1].isalpha() else 't_' + said}_{digest}"
        if alias not in taken:
            return alias
        times += 1


def _renamed(value: Any, aliases: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(item, aliases) for item in value]
    if not isinstance(value, Mapping):
        return value
    out = {}
    for key, inside in value.items():
        if key in _KEYS and isinstance(inside, str):
            out[key] = aliases.get(inside, inside)
        elif key in _WORDS or (key == "input" and "type" in value):
            out[key] = inside
        else:
            out[key] = _renamed(inside, aliases)
    return out


async def _restored(
    stream: UpstreamStream, restorer: _Restorer
) -> AsyncGenerator[list[SseEvent], None]:
    async with stream:
        while events := await stream.read():
            yield [restorer.in_event(event) for event in events]


class _Restorer:
    """Restores the caller's names. An alias occurs only where a name stands."""

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._pairs = [
            (alias.encode(), orjson.dumps(name)[1:-1]) for name, alias in aliases.items()
        ]

    def in_bytes(self, data: bytes) -> bytes:
        for alias, name in self._pairs:
            if alias in data:
                data = data.replace(alias, name)
        return data

    def in_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        restored: dict[str, Any] = orjson.loads(self.in_bytes(orjson.dumps(body)))
        return restored

    def in_event(self, event: SseEvent) -> SseEvent:
        data = self.in_bytes(event.data)
        if data is event.data:
            return event
        return SseEvent(data, event.name, parsed=orjson.loads(data))
