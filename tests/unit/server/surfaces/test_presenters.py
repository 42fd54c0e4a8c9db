"""Chunks go out with our name for the model, and with every other byte as it came where that can
be told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merge import sse_events

from router.catalog import ModelCard
from server.surfaces.messages.reply import MessageEvents
from server.surfaces.presenters import ChunkPresenter
from server.wire.sse import SseEvent

CARD = ModelCard(
    name='ours "quoted"',
    provider="p",
    upstream_model="theirs",
    leaderboard_name="ours",
    prices=None,
)
NAMES = st.sampled_from(["theirs", "None", 'a"b', "modèle", CARD.name, 'x","model":"y', ""])
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | st.text(max_size=5) | NAMES,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["model", "content", "delta"]), inner, max_size=2)
    ),
    max_leaves=6,
)


def sent(data: bytes) -> bytes:
    presenter = ChunkPresenter(CARD, lambda: None, include_usage=False, explanation=None)
    (event,) = presenter.event(SseEvent(data, parsed=orjson.loads(data)))
    return event.removeprefix(b"data: ").removesuffix(b"\n\n")


@given(
    st.dictionaries(st.sampled_from(["model", "id", "choices", "x"]), VALUES, max_size=4),
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.booleans(),
)
def test_only_the_chunks_own_model_is_renamed(
    chunk: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    text = json.dumps(chunk, separators=separators, ensure_ascii=ascii_only)
    assert json.loads(sent(text.encode())) == {**chunk, "model": CARD.name}


@pytest.mark.parametrize("before", ["1.10", "1e2", "  1"])
def test_every_other_byte_is_the_providers(before: str) -> None:
    text = '{"n":%s,"model":"%s","choices":[{"delta":{"content":"\\"model\\":\\"theirs\\""}}]}'
    ours = CARD.name.replace('"', '\\"')
    assert sent((text % (before, "theirs")).encode()) == (text % (before, ours)).encode()


SAID = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
ENDED = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
ALONE: dict[str, Any] = {"choices": []}


def usage(output: int) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": 3, "completion_tokens": output}}


def shown(
    chunks: Sequence[dict[str, Any]], *, include: bool = True, ends: bool = True
) -> list[Any]:
    presenter = ChunkPresenter(CARD, lambda: 0.5, include_usage=include, explanation=None)
    out = [b"".join(presenter.event(SseEvent(orjson.dumps(c), parsed=c))) for c in chunks]
    if ends:
        out += presenter.end()
    return [one for one in sse_events(b"".join(out).decode()) if one != "[DONE]"]


EVERY_CHUNK = [SAID | usage(1), SAID | usage(2), ENDED | usage(2)]


@pytest.mark.parametrize(
    "chunks",
    [
        [SAID, ENDED, ALONE | usage(2)],
        [SAID, ENDED, ALONE | usage(2), ALONE | usage(2)],
        [SAID, ENDED | usage(2)],
        EVERY_CHUNK,
        [*EVERY_CHUNK, ALONE | usage(2)],
    ],
)
@pytest.mark.parametrize("ends", [False, True])
def test_it_is_told_once_and_as_soon_as_the_answer_has_ended(
    chunks: list[dict[str, Any]], ends: bool
) -> None:
    found = shown(chunks, ends=ends)
    told = [one for one in found if one.get("usage")]
    assert told == [found[-1]]
    assert told[0]["choices"] == []
    assert told[0]["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.5}
    assert [one["choices"] for one in found[:-1]] == [
        one["choices"] for one in chunks if one["choices"]
    ]


def test_the_input_alone_is_not_the_end() -> None:
    chunks = [ALONE | usage(0), SAID, ENDED, ALONE | usage(2)]
    assert [bool(one.get("usage")) for one in shown(chunks)] == [False, False, True]
    assert shown(chunks[:-1])[-1]["usage"]["completion_tokens"] == 0


@pytest.mark.parametrize("chunks", [EVERY_CHUNK, [SAID, ENDED, ALONE | usage(2)]])
def test_who_does_not_ask_for_it_gets_none(chunks: list[dict[str, Any]]) -> None:
    found = shown(chunks, include=False)
    assert not any("usage" in one for one in found)
    assert all(one["choices"] for one in found)


def test_a_message_without_usage_has_an_estimate() -> None:
    events = MessageEvents("m", input_tokens=30)
    said = {"choices": [{"delta": {"content": "x" * 41}, "finish_reason": "stop"}]}
    *_, last, _ = (*events.begin(), *events.chunk(said), *events.end())
    assert last["usage"] == {"input_tokens": 30, "output_tokens": 11}
    counted = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    events = MessageEvents("m", input_tokens=30)
    *_, last, _ = (*events.begin(), *events.chunk(said | counted), *events.end())
    assert (last["usage"]["input_tokens"], last["usage"]["output_tokens"]) == (7, 2)
