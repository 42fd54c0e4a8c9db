"""Chunks go out with our name for the model, and with every other byte as it came where that can
be told."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog import ModelCard
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
