"""JSON that was cut within a character, or begins with a byte order mark."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.wire.well_formed import well_formed


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb'"a\ud83d b"', "a\ufffd b"),
        (rb'"\uDE00"', "\ufffd"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\\ud83d"', r"\ud83d"),
        (rb'"\\\ud83d"', "\\\ufffd"),
        (b'\xef\xbb\xbf"a"', "a"),
    ],
)
def test_what_is_read(written: bytes, read: str) -> None:
    assert orjson.loads(well_formed(written)) == read


def test_what_is_well_formed_is_the_same_object() -> None:
    content = '{"a": "ü"}'.encode()
    assert well_formed(content) is content


@pytest.mark.slow
@given(st.text(st.characters(categories=["L", "Cs", "P", "N"])))
def test_everything_else_stays(text: str) -> None:
    lonely = json.dumps(text).encode()
    expected = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert len(orjson.loads(well_formed(lonely))) == len(expected)
