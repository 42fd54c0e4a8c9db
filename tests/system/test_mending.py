"""Chat completions of servers of open models, mended: whole and separate calls, content that is
text, an end that follows the content, and never half a call that looks whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from broken_stream import Streamed, read_stream
from fake_provider import Behaviour, FakeProvider
from hypothesis import given
from hypothesis import strategies as st
from live_gateway import LiveGateway
from merge import merged, sse_events

from server.upstream.errors import UpstreamError, UpstreamUnavailableError
from server.upstream.mending.stream import ChatStream
from server.upstream.mending.whole import mend_answer
from server.wire.sse import SseEvent

Delta = dict[str, Any]
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chunk(delta: Delta | None, finish: object = None, **fields: Any) -> Delta:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [choice],
    } | fields


def sent(chunks: list[Delta]) -> list[Delta]:
    """What goes on. Raises UpstreamError where the stream is no whole answer."""
    stream = ChatStream("p")
    out: list[SseEvent] = []
    for one in chunks:
        event = SseEvent(orjson.dumps(one), parsed=one)
        taken = stream.take(event)
        out += [event] if taken is None else taken
    out += stream.end()
    if stream.failure is not None:
        raise stream.failure
    assert stream.is_ended
    for event in out:
        assert event.parsed == orjson.loads(event.data)
    return [orjson.loads(event.data) for event in out]


def piece(arguments: object, name: object = None, **fields: Any) -> Delta:
    return {"function": {"name": name, "arguments": arguments}, **fields}


def calls_of(chunks: list[Delta], finish: object = "tool_calls") -> list[tuple[str, Any]]:
    """By OpenAI's reference: merged by index, ids and types in place, one call after the other."""
    out = sent([*chunks, chunk({}, finish), {"id": "c", "choices": [], "usage": USAGE}])
    message = merged(out)["message"]
    assert merged(out)["finish_reason"] == "tool_calls"
    found = message["tool_calls"]
    assert len({call["id"] for call in found}) == len(found)
    assert all(call["id"] and call["type"] == "function" for call in found)
    order = [
        call["index"]
        for one in out
        for choice in one["choices"]
        for call in choice["delta"].get("tool_calls") or ()
    ]
    assert order == sorted(order)
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in found]


TWO = [("weather", {"city": "Oslo"}), ("clock", {"zone": "UTC"})]
A, B = '{"city":"Oslo"}', '{"zone":"UTC"}'
STREAMS: dict[str, list[list[Delta]]] = {
    "no index": [[piece(A, "weather", id="a")], [piece(B, "clock", id="b")]],
    "all index 0": [[piece(A, "weather", id="a", index=0)], [piece(B, "clock", id="b", index=0)]],
    "both in one delta": [[piece(A, "weather", id="a"), piece(B, "clock", id="b")]],
    "no ids": [[piece(A, "weather", index=0)], [piece(B, "clock", index=1)]],
    "neither ids nor indexes": [[piece(A, "weather")], [piece(B, "clock")]],
    "no ids, all index 0": [[piece(A, "weather", index=0)], [piece(B, "clock", index=0)]],
    "ids are null": [
        [piece(A, "weather", id=None, index=0)],
        [piece(B, "clock", id=None, index=1)],
    ],
    "the same id twice": [
        [piece(A, "weather", id="a", index=0)],
        [piece(B, "clock", id="a", index=1)],
    ],
    "the same id and index twice": [
        [piece(A, "weather", id="a", index=0)],
        [piece(B, "clock", id="a", index=0)],
    ],
    "the same id twice, no index": [[piece(A, "weather", id="a")], [piece(B, "clock", id="a")]],
    "counted from one": [
        [piece(A, "weather", id="a", index=1)],
        [piece(B, "clock", id="b", index=2)],
    ],
    "arguments as an object": [
        [piece({"city": "Oslo"}, "weather", id="a", index=0)],
        [piece({"zone": "UTC"}, "clock", id="b", index=1)],
    ],
    "arguments as a string of JSON": [
        [piece(json.dumps(A), "weather", id="a", index=0)],
        [piece(json.dumps(B), "clock", id="b", index=1)],
    ],
    "in turns, by index": [
        [piece('{"city"', "weather", id="a", index=0)],
        [piece('{"zone"', "clock", id="b", index=1)],
        [piece(':"Oslo"}', index=0)],
        [piece(':"UTC"}', index=1)],
    ],
    "in turns, by id": [
        [piece('{"city"', "weather", id="a", index=0)],
        [piece('{"zone"', "clock", id="b", index=0)],
        [piece(':"Oslo"}', id="a", index=0)],
        [piece(':"UTC"}', id="b", index=0)],
    ],
    "opened first, filled later": [
        [piece("", "weather", id="a", index=0)],
        [piece("", "clock", id="b", index=1)],
        [piece(B, index=1)],
        [piece(A, index=0)],
    ],
    "the name in every delta": [
        [piece('{"city"', "weather", id="a", index=0)],
        [piece(':"Oslo"}', "weather", id="a", index=0)],
        [piece('{"zone"', "clock", id="b", index=1)],
        [piece(':"UTC"}', "clock", id="b", index=1)],
    ],
    "the name in every delta, nothing else": [
        [piece('{"city"', "weather")],
        [piece(':"Oslo"}', "weather")],
        [piece('{"zone"', "clock")],
        [piece(':"UTC"}', "clock")],
    ],
    "another id in every delta": [
        [piece('{"city"', "weather", id="1", index=0)],
        [piece(':"Oslo"}', id="2", index=0)],
        [piece('{"zone"', "clock", id="3", index=1)],
        [piece(':"UTC"}', id="4", index=1)],
    ],
    "the call once more at its end": [
        [piece('{"city"', "weather", id="a", index=0)],
        [piece(':"Oslo"}', index=0)],
        [piece(A, "weather", id="a", index=0)],
        [piece(B, "clock", id="b", index=1)],
    ],
    "an empty delta after each": [
        [piece(A, "weather", id="a", index=0)],
        [piece("", "weather", id="a", index=0)],
        [piece(B, "clock", id="b", index=1)],
        [piece(None, "", id="", index=1)],
    ],
    "the fields of the call itself": [
        [{"id": "a", "name": "weather", "arguments": A}],
        [{"id": "b", "name": "clock", "arguments": B}],
    ],
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("finish", ["tool_calls", "stop", "tool_use", {"type": "stop"}])
def test_two_calls_stay_two(name: str, finish: object) -> None:
    chunks = [chunk({"tool_calls": calls}) for calls in STREAMS[name]]
    assert calls_of([chunk({"role": "assistant", "content": None}), *chunks], finish) == TWO


def test_two_calls_of_one_tool_stay_two() -> None:
    other = [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]
    rome = '{"city":"Rome"}'
    for fields in ({}, {"index": 0}, {"id": "a"}, {"id": "a", "index": 0}):
        pieces = [piece(A, "weather", **fields), piece(rome, "weather", **fields)]
        assert calls_of([chunk({"tool_calls": [one]}) for one in pieces]) == other
        assert calls_of([chunk({"tool_calls": pieces})]) == other


def test_a_call_without_arguments_has_an_empty_object() -> None:
    for said in ("", None, "null", "{}", {}, []):
        chunks = [chunk({"tool_calls": [piece(said, "ls", id="a", index=0)]})]
        assert calls_of(chunks) == [("ls", {})]


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[str, Any]], list[Delta]]:
    """Some calls, cut into pieces that come in turns, said as one server or another says them."""
    arguments = st.dictionaries(
        st.sampled_from(["a", "b", "{"]), st.text(max_size=6) | st.integers(0, 9), max_size=3
    )
    names = st.sampled_from(["read", "write", "run"])
    calls = draw(st.lists(st.tuples(names, arguments), min_size=1, max_size=4))
    in_turns = draw(st.booleans())
    repeats_name = draw(st.booleans())
    indexes, ids = draw(
        st.sampled_from([("own", "first"), ("own", "none"), ("own", "all"), ("zero", "all"),
                         ("none", "all"), ("own", "same")])
    )  # fmt: skip
    queues: list[list[Delta]] = []
    for number, (name, value) in enumerate(calls):
        text = json.dumps(value)
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
        pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
        queue = []
        for place, part in enumerate(pieces):
            delta = piece(part, name if place == 0 or repeats_name else None)
            if indexes != "none":
                delta["index"] = number if indexes == "own" else 0
            if ids == "same":
                delta["id"] = "call_1"
            elif ids == "all" or (ids == "first" and place == 0):
                delta["id"] = f"call_{number}"
            queue.append(delta)
        queues.append(queue)
    deltas: list[Delta] = []
    while any(queues):
        waiting = [queue for queue in queues if queue]
        queue = draw(st.sampled_from(waiting)) if in_turns else waiting[0]
        deltas.append(queue.pop(0))
    return calls, deltas


@given(streams())
def test_calls_come_whole_however_they_are_said(
    case: tuple[list[tuple[str, Any]], list[Delta]],
) -> None:
    calls, deltas = case
    found = calls_of([chunk({"tool_calls": [delta]}) for delta in deltas])
    assert sorted(found, key=repr) == sorted(calls, key=repr)


CUT = {
    "in the middle": [piece('{"city"', "weather", id="a", index=0)],
    "the first of two": [
        piece('{"city"', "weather", id="a", index=0),
        piece(B, "clock", id="b", index=1),
    ],
    "no object": [piece("Oslo", "weather", id="a", index=0)],
    "a list": [piece("[1]", "weather", id="a", index=0)],
    "no name": [piece(A, None, id="a", index=0)],
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_half_a_call_is_never_shown_as_a_whole_one(name: str, finish: str) -> None:
    chunks = [chunk({"tool_calls": [one]}) for one in CUT[name]]
    with pytest.raises(UpstreamUnavailableError) as caught:
        sent([*chunks, chunk({}, finish, usage=USAGE)])
    assert (caught.value.reported or {})["usage"] == USAGE
    answer = {"choices": [{"index": 0, "finish_reason": finish,
                           "message": {"role": "assistant", "content": None,
                                       "tool_calls": CUT[name]}}], "usage": USAGE}  # fmt: skip
    with pytest.raises(UpstreamUnavailableError) as caught:
        mend_answer("p", answer)
    assert (caught.value.reported or {})["usage"] == USAGE


def test_an_answer_that_says_that_it_is_cut_may_hold_half_a_call() -> None:
    half = chunk({"tool_calls": [piece('{"city"', "weather", id="a", index=0)]})
    found = merged(sent([half, chunk({}, "length")]))
    assert found["finish_reason"] == "length"
    assert found["message"]["tool_calls"][0]["function"]["arguments"] == '{"city"'


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


@pytest.mark.parametrize(
    "deltas",
    [
        [
            {"content": [THOUGHT]},
            {"content": [{"type": "text", "text": "An"}]},
            {"content": "swer"},
        ],
        [{"content": [THOUGHT, {"type": "text", "text": "Answer"}]}],
        [{"thinking": "hm"}, {"content": "Answer"}],
        [{"reasoning": [{"type": "text", "text": "hm"}]}, {"content": "Answer"}],
        [{"reasoning": {"content": "hm"}, "content": None}, {"content": {"text": "Answer"}}],
    ],
)
def test_content_is_text_and_thoughts_are_reasoning(deltas: list[Delta]) -> None:
    found = merged(sent([*map(chunk, deltas), chunk({"content": ""}, "stop")]))["message"]
    assert found["content"] == "Answer"
    assert found["reasoning_content"] == "hm"
    message: Delta = {"role": "assistant"}
    for name in ("content", "thinking", "reasoning"):
        values = [delta[name] for delta in deltas if delta.get(name)]
        if values and all(isinstance(value, str | dict) for value in values):
            message[name] = values[0]
        elif values:
            message[name] = [
                {"type": "text", "text": v} if isinstance(v, str) else v
                for value in values
                for v in (value if isinstance(value, list) else [value])
            ]
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    whole = mend_answer("p", answer)["choices"][0]["message"]
    assert (whole["content"], whole["reasoning_content"]) == ("Answer", "hm")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("STOP", "stop"), ("eos", "stop"), ("end_turn", "stop"), ("tool_calls", "stop"),
        ("max_tokens", "length"), ("model_length", "length"), ({"type": "length"}, "length"),
        ("SAFETY", "content_filter"), ("sensitive", "content_filter"),
    ],
)  # fmt: skip
def test_the_reason_is_one_of_openais(said: object, expected: str) -> None:
    found = sent([chunk({"content": "Hi"}), chunk({}, said)])
    assert found[-1]["choices"][0]["finish_reason"] == expected
    answer = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": said}]}
    assert mend_answer("p", answer)["choices"][0]["finish_reason"] == expected


@pytest.mark.parametrize("said", ["abort", "error", "insufficient_system_resource"])
def test_an_answer_that_was_given_up_is_none(said: str) -> None:
    with pytest.raises(UpstreamError):
        sent([chunk({"content": "Hi"}), chunk({}, said)])
    answer = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": said}]}
    with pytest.raises(UpstreamError):
        mend_answer("p", answer)


def test_an_end_without_a_reason_is_none() -> None:
    for chunks in ([chunk({"content": "Hi"})], [chunk({"content": "Hi"}), chunk({}, "")]):
        with pytest.raises(AssertionError):
            sent(chunks)


@pytest.mark.parametrize("odd", [chunk(None), chunk({"content": []}), chunk({}, None, usage=None)])
@pytest.mark.parametrize("finish", ["stop", "content_filter", "length"])
def test_what_comes_after_the_end_does_not_take_it_back(odd: Delta, finish: str) -> None:
    """Azure tells of its filters there, in a choice without a delta."""
    usage = {"id": "c", "choices": [], "usage": USAGE}
    found = sent([chunk({"content": "Hi"}), chunk({}, finish), odd, usage])
    reasons = [choice["finish_reason"] for one in found for choice in one["choices"]]
    assert finish in reasons
    assert found[-1]["usage"] == USAGE


def test_what_needs_no_mending_keeps_its_bytes() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "ls", "arguments": ""}}
    chunks = [
        chunk({"role": "assistant", "content": None, "refusal": None}),
        chunk({"tool_calls": [{"index": 0, **call}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": '}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        chunk({}, "tool_calls"),
        {"id": "c", "choices": [], "usage": USAGE},
    ]
    stream = ChatStream("p")
    given = [SseEvent(json.dumps(one).encode(), parsed=one) for one in chunks]
    out: list[SseEvent] = []
    for event in given:
        taken = stream.take(event)
        out += [event] if taken is None else taken
    assert [event.data for event in [*out, *stream.end()]] == [event.data for event in given]
    text = [chunk({"content": "Hi"}), chunk({"reasoning": "hm"}), chunk({}, "stop")]
    plain = ChatStream("p")
    assert [plain.take(SseEvent(b"", parsed=one)) for one in text] == [None] * 3
    answer = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
    assert mend_answer("p", answer) is answer


CONFIG = """
providers: {{plain: {{base_url: "{plain}"}}}}
models: {{up: {{provider: plain, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}}}
scorer: {{fixed: {{up: 1}}}}
routing: {{retries: 0}}
"""
TOOLS = {
    "messages": [{"name": n, "input_schema": {"type": "object"}} for n in ("weather", "clock")],
    "responses": [
        {"type": "function", "name": name, "parameters": {"type": "object"}}
        for name in ("weather", "clock")
    ],
}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as plain:
        yield plain


@pytest.fixture(scope="module")
def client(provider: FakeProvider) -> Iterator[httpx.Client]:
    with (
        LiveGateway(CONFIG.format(plain=provider.base_url)) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as http,
    ):
        yield http


def ask(client: httpx.Client, surface: str, *, stream: bool, **fields: Any) -> Streamed:
    said = {"input": "x"} if surface == "responses" else {
        "messages": [{"role": "user", "content": "x"}], "max_tokens": 99
    }  # fmt: skip
    body = {"model": "p2l", "stream": stream, "tools": TOOLS[surface], **said, **fields}
    return read_stream(client, f"/v1/{surface}", body)


def shown(surface: str, answer: Streamed, *, stream: bool) -> list[tuple[str, Any]]:
    """The calls of an answer, and how it ended."""
    if not stream:
        body = json.loads(answer.text)
    else:
        events = sse_events(answer.text)
        if surface == "messages":
            return message_calls(events)
        body = events[-1]["response"]
    if surface == "messages":
        blocks = [b for b in body["content"] if b["type"] == "tool_use"]
        return [*((b["name"], b["input"]) for b in blocks), ("", body["stop_reason"])]
    calls = [i for i in body["output"] if i["type"] == "function_call"]
    return [*((i["name"], json.loads(i["arguments"])) for i in calls), ("", body["status"])]


def message_calls(events: list[Any]) -> list[tuple[str, Any]]:
    blocks: dict[int, list[str]] = {}
    for event in events:
        if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use":
            blocks[event["index"]] = [event["content_block"]["name"], ""]
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "input_json_delta":
            blocks[event["index"]][1] += event["delta"]["partial_json"]
    (stop,) = [e["delta"]["stop_reason"] for e in events if e["type"] == "message_delta"]
    return [*((name, json.loads(text)) for name, text in blocks.values()), ("", stop)]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("surface", TOOLS)
def test_every_api_shows_two_calls(
    client: httpx.Client, provider: FakeProvider, surface: str, name: str
) -> None:
    deltas = tuple({"tool_calls": calls} for calls in STREAMS[name])
    provider.script("up", Behaviour(deltas=deltas, finish_reason="stop"))
    answer = ask(client, surface, stream=True)
    end = "tool_use" if surface == "messages" else "completed"
    assert shown(surface, answer, stream=True) == [*TWO, ("", end)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", TOOLS)
def test_half_a_call_is_shown_nowhere(
    client: httpx.Client, provider: FakeProvider, surface: str, stream: bool
) -> None:
    half = {"role": "assistant", "content": None, "tool_calls": CUT["in the middle"]}
    behaviour = Behaviour(deltas=(half,), message=half, finish_reason="tool_calls")
    provider.script("up", behaviour)
    answer = ask(client, surface, stream=stream)
    assert "city" not in answer.text
    assert "error" in answer.text
    assert answer.is_broken == stream
    assert stream or answer.status_code == 502


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", TOOLS)
def test_an_answer_that_is_cut_off_by_its_cap_says_so(
    client: httpx.Client, provider: FakeProvider, surface: str, stream: bool
) -> None:
    calls = [piece(A, "weather", id="a", index=0), piece('{"zo', "clock", id="b", index=1)]
    half = {"role": "assistant", "content": None, "tool_calls": calls}
    provider.script("up", Behaviour(deltas=(half,), message=half, finish_reason="length"))
    answer = ask(client, surface, stream=stream)
    assert not answer.is_broken
    if surface == "responses":
        events = sse_events(answer.text) if stream else []
        body = events[-1]["response"] if stream else json.loads(answer.text)
        assert body["status"] == "incomplete"
        calls = [item for item in body["output"] if item["type"] == "function_call"]
        assert [call["status"] for call in calls] == ["completed", "incomplete"]
        done = [e for e in events if e["type"] == "response.function_call_arguments.done"]
        assert len(done) == stream
    elif stream:
        assert '"stop_reason":"max_tokens"' in answer.text
    else:
        assert shown(surface, answer, stream=False) == [TWO[0], ("", "max_tokens")]


MESSAGE = {"role": "assistant", "content": None, "tool_calls": [
    {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": "{}"}}
    for name in ("weather", "clock")
]}  # fmt: skip


@pytest.mark.parametrize("surface", ["messages", "responses"])
def test_a_server_that_never_streams(
    client: httpx.Client, provider: FakeProvider, surface: str
) -> None:
    choice = {"index": 0, "message": MESSAGE, "finish_reason": "tool_calls"}
    whole = {"id": "c", "object": "chat.completion", "choices": [choice], "usage": USAGE}
    provider.script("up", Behaviour(garbage=json.dumps(whole).encode()))
    found = shown(surface, ask(client, surface, stream=True), stream=True)
    assert found[:-1] == [("weather", {}), ("clock", {})]
    assert found[-1][1] in ("tool_use", "completed")


@pytest.mark.parametrize("surface", ["messages", "responses"])
def test_a_server_that_always_streams(
    client: httpx.Client, provider: FakeProvider, surface: str
) -> None:
    last = chunk({}, "tool_calls", usage=USAGE)
    events = [chunk({"tool_calls": [one]}) for one in MESSAGE["tool_calls"]] + [last]
    stream = "".join(f"data: {json.dumps(one)}\n\n" for one in events)
    behaviour = Behaviour(garbage=stream.encode(), content_type="text/event-stream")
    provider.script("up", behaviour)
    found = shown(surface, ask(client, surface, stream=False), stream=False)
    assert found[:-1] == [("weather", {}), ("clock", {})]
    assert found[-1][1] in ("tool_use", "completed")
