"""Names of tools that a provider does not take: shorter on the way out, whole in the answer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.upstream import tool_names
from server.upstream.base import UpstreamReply, UpstreamRequest, UpstreamStream
from server.upstream.tool_names import ANTHROPIC_NAME, GEMINI_NAME, OPENAI_NAME, aliases_of
from server.wire.sse import SseEvent
from server.wire.surface import Surface

LONG = "mcp__plugin_warehouse-inventory-manager__list_all_reservations_of_a_given_customer"
LIKE_IT = LONG + "_and_of_another"
DOTTED = "files.read"


class Echo:
    """Answers with a call of each tool that it was offered."""

    tool_names = OPENAI_NAME

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: Any = None

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        self.seen = request.body
        return UpstreamReply(self.answer(_offered(request.body)))

    async def open_stream(self, request: UpstreamRequest) -> UpstreamStream:
        self.seen = request.body
        answer = self.answer(_offered(request.body))

        async def events() -> AsyncGenerator[SseEvent, None]:
            yield SseEvent(json.dumps(answer).encode(), parsed=answer)

        return await UpstreamStream.start(events())


def _offered(body: Any) -> list[str]:
    return [(tool.get("function") or tool)["name"] for tool in body["tools"]]


SCHEMA = {"type": "object", "properties": {"name": {"const": LONG}}}
NAMES = [LONG, LIKE_IT, DOTTED, "ls"]


def chat_call(name: str) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}


SURFACES: dict[Surface, tuple[dict[str, Any], Any]] = {
    Surface.CHAT: (
        {
            "tools": [{"type": "function", "function": {"name": n, "parameters": SCHEMA}}
                      for n in NAMES],
            "tool_choice": {"type": "function", "function": {"name": LONG}},
            "messages": [
                {"role": "user", "content": f"Call {LONG}."},
                {"role": "assistant", "content": None, "tool_calls": [chat_call(LONG)]},
                {"role": "tool", "tool_call_id": "c", "content": LONG},
            ],
        },
        lambda names: {"choices": [{"message": {"tool_calls": [chat_call(n) for n in names]}}]},
    ),
    Surface.RESPONSES: (
        {
            "tools": [{"type": "function", "name": n, "parameters": SCHEMA} for n in NAMES],
            "tool_choice": {"type": "function", "name": LONG},
            "input": [
                {"type": "message", "role": "user", "content": f"Call {LONG}."},
                {"type": "function_call", "call_id": "c", "name": LONG, "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": LONG},
            ],
        },
        lambda names: {"output": [{"type": "function_call", "name": n} for n in names]},
    ),
    Surface.MESSAGES: (
        {
            "tools": [{"name": n, "input_schema": SCHEMA} for n in NAMES],
            "tool_choice": {"type": "tool", "name": LONG},
            "messages": [
                {"role": "user", "content": f"Call {LONG}."},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "c", "name": LONG, "input": {"name": LONG}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": LONG}]},
            ],
        },
        lambda names: {"content": [{"type": "tool_use", "name": n, "input": {}} for n in names]},
    ),
}  # fmt: skip


def _named(value: Any) -> list[str]:
    """Every name in an answer."""
    if isinstance(value, list):
        return [name for item in value for name in _named(item)]
    if not isinstance(value, dict):
        return []
    own = [value["name"]] if isinstance(value.get("name"), str) else []
    return own + [name for inside in value.values() for name in _named(inside)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", SURFACES)
def test_names_go_out_shorter_and_come_back_whole(surface: Surface, stream: bool) -> None:
    body, answer = SURFACES[surface]
    upstream: Any = Echo(answer)
    request = UpstreamRequest(body, stream, "m", surface)

    async def ask() -> Any:
        if not stream:
            return (await tool_names.complete(upstream, request)).body
        opened = await tool_names.open_stream(upstream, request)
        return [event.parsed async for event in opened]

    got = asyncio.run(ask())
    assert _named(got) == NAMES
    sent = upstream.seen
    offered = _offered(sent)
    assert len(set(offered)) == len(NAMES)
    assert all(OPENAI_NAME.fullmatch(name) for name in offered)
    assert _named(sent["tool_choice"]) == offered[:1]
    text = json.dumps(sent)
    assert text.count(json.dumps(LONG)) == json.dumps(body).count(json.dumps(LONG)) - 3
    assert f"Call {LONG}." in text, "the caller's words stay"


def test_names_that_are_taken_are_not_touched() -> None:
    body = SURFACES[Surface.CHAT][0] | {"tools": [], "messages": [{"role": "user", "content": "x"}]}
    assert aliases_of(body, OPENAI_NAME) == {}
    assert aliases_of(SURFACES[Surface.MESSAGES][0], re.compile(".*")) == {}


@given(st.lists(st.text(min_size=1, max_size=140), unique=True, max_size=20))
def test_no_two_tools_share_a_name(names: list[str]) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    for taken in (OPENAI_NAME, GEMINI_NAME, ANTHROPIC_NAME):
        aliases = aliases_of({"tools": tools}, taken)
        assert aliases == aliases_of({"tools": tools[::-1]}, taken)
        said = [aliases.get(name, name) for name in names]
        assert len(set(said)) == len(names)
        assert all(taken.fullmatch(name) for name in said)


def test_an_alias_never_takes_the_name_of_another_tool() -> None:
    long = {"type": "function", "function": {"name": LONG}}
    (alias,) = aliases_of({"tools": [long]}, OPENAI_NAME).values()
    taken = {"type": "function", "function": {"name": alias}}
    (other,) = aliases_of({"tools": [long, taken]}, OPENAI_NAME).values()
    assert other != alias
