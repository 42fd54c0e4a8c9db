"""The name of a streamed call may come whole, in pieces, as far as it has come, or with every
delta; its id and its index with every delta, once, late or not at all. Every caller gets the same
calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from in_process import InProcess, in_process
from merge import merged, sse_events
from odd_answers import PATHS, config

pytestmark = pytest.mark.anyio
Delta = dict[str, Any]
# `get` begins the name of another tool, and `clock` takes no arguments.
TOOLS = ("get", "get_weather", "clock", "weather")
USAGE = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}
CALLS = [("get_weather", '{"city": "Oslo"}'), ("clock", ""), ("get", '{"x": 1}')]
EXPECTED = [(name, json.loads(text or "{}")) for name, text in CALLS]

# How a name comes, in pieces of which each is in a delta of its own.
NAMES: dict[str, Callable[[str], list[str]]] = {
    "whole": lambda name: [name],
    "in two pieces": lambda name: [name[:4], name[4:]] if len(name) > 4 else [name],
    "letter by letter": list,
    "as far as it has come": lambda name: [name[: n + 1] for n in range(len(name))],
    "whole, twice": lambda name: [name, name],
}
# What a delta says of where it belongs: number is that of the call, step that of the delta.
PLACES: dict[str, Callable[[int, int], Delta]] = {
    "index and id once": lambda n, step: {"index": n} | ({"id": f"c{n}"} if step == 0 else {}),
    "index and id": lambda n, _: {"index": n, "id": f"c{n}"},
    "index and id late": lambda n, step: {"index": n} | ({"id": f"c{n}"} if step > 0 else {}),
    "index": lambda n, _: {"index": n},
    "index and an empty id": lambda n, step: {"index": n, "id": f"c{n}" if step == 0 else ""},
    "index and another id each time": lambda n, step: {"index": n, "id": f"c{n}-{step}"},
    "id": lambda n, _: {"id": f"c{n}"},
    "id once": lambda n, step: {"id": f"c{n}"} if step == 0 else {},
    "index 0 and id": lambda n, _: {"index": 0, "id": f"c{n}"},
    "index 0 and id once": lambda n, step: {"index": 0} | ({"id": f"c{n}"} if step == 0 else {}),
    "index 0": lambda _n, _step: {"index": 0},
    "nothing": lambda _n, _step: {},
}
# The arguments come with the last piece of the name, or later and in pieces.
TEXTS: dict[str, Callable[[str], list[str]]] = {
    "at once": lambda text: [text],
    "later": lambda text: ["", text[:5], text[5:]],
}


def deltas(name: str, place: str, text: str) -> list[Delta]:
    made = []
    for number, (called, given) in enumerate(CALLS):
        pieces = NAMES[name](called)
        first, *rest = TEXTS[text](given)
        said = [{"name": piece, "arguments": ""} for piece in pieces]
        said[-1]["arguments"] = first
        said += [{"arguments": more} for more in rest if more]
        for step, function in enumerate(said):
            where = PLACES[place](number, step)
            made.append({**where, "type": "function", "function": function})
    return made


def wire(calls: list[Delta]) -> bytes:
    def event(delta: Delta, finish: str | None = None, **more: Any) -> Delta:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "c", "object": "chat.completion.chunk", "model": "m", "created": 1,
                "choices": [choice], **more}  # fmt: skip

    events = [event({"role": "assistant", "content": None})]
    events += [event({"tool_calls": [one]}) for one in calls]
    events.append(event({}, "tool_calls", usage=USAGE))
    lines = b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in events)
    return lines + b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InProcess]:
    folder: Path = tmp_path_factory.mktemp("split")
    async with in_process(config(folder), {}) as made:
        yield made


def request(surface: str, *, stream: bool) -> Delta:
    schema = {"type": "object", "properties": {}}
    turns = [{"role": "user", "content": "Hello"}]
    if surface == "messages":
        tools: Any = [{"name": name, "input_schema": schema} for name in TOOLS]
        more: Delta = {"messages": turns, "max_tokens": 500}
    elif surface == "responses":
        tools = [{"type": "function", "name": name, "parameters": schema} for name in TOOLS]
        more = {"input": "Hello"}
    else:
        named = [{"name": name, "parameters": schema} for name in TOOLS]
        tools = [{"type": "function", "function": one} for one in named]
        more = {"messages": turns}
    return {"model": "chat", "stream": stream, "tools": tools, **more}


def calls_in(surface: str, content: bytes, *, stream: bool) -> list[tuple[str, Any]]:
    """The calls as a client of the surface puts them together; each has an id of its own."""
    body: Any = sse_events(content.decode()) if stream else json.loads(content)
    if surface == "chat":
        chunks = [one for one in body if one != "[DONE]"] if stream else []
        message = merged(chunks)["message"] if stream else body["choices"][0]["message"]
        made = [(one["id"], one["function"]) for one in message["tool_calls"]]
        found = [(identifier, one["name"], one["arguments"]) for identifier, one in made]
    elif surface == "responses":
        whole = body[-1]["response"] if stream else body
        items = [one for one in whole["output"] if one["type"] == "function_call"]
        found = [(one["call_id"], one["name"], one["arguments"]) for one in items]
    elif stream:
        found = _of_blocks(body)
    else:
        blocks = [one for one in body["content"] if one["type"] == "tool_use"]
        found = [(one["id"], one["name"], json.dumps(one["input"])) for one in blocks]
    assert len({identifier for identifier, _, _ in found}) == len(found)
    assert all(identifier for identifier, _, _ in found)
    return [(name, json.loads(text or "{}")) for _, name, text in found]


def _of_blocks(events: list[Any]) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for event in events:
        block, delta = event.get("content_block") or {}, event.get("delta") or {}
        if block.get("type") == "tool_use":
            found.append((block["id"], block["name"], ""))
        elif delta.get("type") == "input_json_delta":
            identifier, name, text = found.pop()
            found.append((identifier, name, text + delta["partial_json"]))
    return found


def is_told(name: str, place: str) -> bool:
    """Whether a server says enough to tell its calls apart. A name that comes again, with another
    id and before any arguments, can be that of another call."""
    return (name, place) != ("whole, twice", "index and another id each time")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
async def test_every_caller_gets_the_calls_that_were_made(
    gateway: InProcess, name: str, place: str, text: str
) -> None:
    if not is_told(name, place):
        pytest.skip("nothing tells the calls apart")
    content = wire(deltas(name, place, text))
    for surface in ("chat", "messages", "responses"):
        for stream in (True, False):
            gateway.script.say(content, "text/event-stream")
            told = await gateway.ask(PATHS[surface], request(surface, stream=stream))
            assert told.status == 200, told.content
            assert calls_in(surface, told.content, stream=stream) == EXPECTED
            assert gateway.faults == []
            assert gateway.settled[0].usage is not None
