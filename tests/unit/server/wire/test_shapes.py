"""Values that do not fit their shape are left out, and all others stay the same objects."""

from __future__ import annotations

from typing import Any

import pytest

from server.wire.shapes import (
    MISFIT,
    NUMBER,
    TEXT,
    WHOLE,
    Each,
    Fields,
    OneOf,
    fitted,
    part,
    word,
)

PART = OneOf(text=Fields(("text",), text=TEXT), call=Fields((), name=TEXT))
TURN = Fields((), role=TEXT, parts=Each(PART), index=WHOLE, score=NUMBER)


@pytest.mark.parametrize(
    "turn",
    [
        {},
        {"role": "user", "other": [1]},
        {"role": None, "parts": None},
        {"parts": [{"type": "text", "text": "x"}, {"type": "picture", "text": 5}], "index": 3},
        {"score": 1.5, "index": 0},
    ],
)
def test_what_fits_is_the_same_object(turn: dict[str, Any]) -> None:
    assert fitted(turn, TURN) is turn


@pytest.mark.parametrize(
    ("turn", "left"),
    [
        ({"role": 5}, {"role": None}),
        ({"role": ["user"], "other": 1}, {"role": None, "other": 1}),
        ({"index": True}, {"index": None}),
        ({"index": 1.0}, {"index": None}),
        ({"index": 2**64}, {"index": None}),
        ({"score": "1"}, {"score": None}),
        ({"score": 1e308}, {"score": None}),
        ({"parts": {"type": "text"}}, {"parts": None}),
        ({"parts": ["x", None, {"type": []}, {"text": "x"}]}, {"parts": []}),
        ({"parts": [{"type": "text", "text": []}]}, {"parts": []}),
        ({"parts": [{"type": "text"}]}, {"parts": []}),
        ({"parts": [{"type": "call", "name": 5}]}, {"parts": [{"type": "call", "name": None}]}),
    ],
)
def test_what_does_not_fit_is_left_out(turn: dict[str, Any], left: dict[str, Any]) -> None:
    before = repr(turn)
    assert fitted(turn, TURN) == left
    assert repr(turn) == before, "the value itself is not changed"


@pytest.mark.parametrize("value", [None, 5, "x", [], [{}]])
def test_no_object_is_an_empty_one(value: object) -> None:
    assert fitted(value, TURN) == {}


def test_a_list_may_be_whole_or_nothing() -> None:
    assert Each(WHOLE, whole=True).fit([1, "x"]) is MISFIT
    assert Each(WHOLE, whole=True, instead=[]).fit([1, "x"]) == []
    assert Each(WHOLE, instead=[]).fit(5) == []
    assert Each(WHOLE).fit([1, "x", 2]) == [1, 2]


@pytest.mark.slow
def test_words_and_parts_of_anything() -> None:
    assert [word(value) for value in ("x", None, 5, ["x"], {})] == ["x", "", "", "", ""]
    assert [part({"a": value}, "a") for value in ({"b": 1}, None, 5, [])] == [{"b": 1}, {}, {}, {}]
