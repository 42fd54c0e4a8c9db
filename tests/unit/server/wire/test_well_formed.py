"""JSON that was cut within a character, or begins with a byte order mark."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.wire.well_formed import finite, well_formed


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


@pytest.mark.parametrize(
    ("content", "made"),
    [
        (b'{"a": NaN, "b": [-Infinity, Infinity]}', b'{"a": null, "b": [null, null]}'),
        (b'{"NaN": "Infinity", "b": NaN}', b'{"NaN": "Infinity", "b": null}'),
        (rb'{"a": "\" NaN \\", "b": NaN}', rb'{"a": "\" NaN \\", "b": null}'),
    ],
)
def test_numbers_that_json_does_not_have_are_null(content: bytes, made: bytes) -> None:
    assert finite(content) == made
    assert orjson.loads(made)


@pytest.mark.parametrize("content", [b'{"a": 1}', b'"NaN"', b'{"a": "NaN', b"NaNs", rb'"\"NaN'])
def test_what_has_none_is_the_same(content: bytes) -> None:
    assert finite(content) is content


def test_it_takes_no_longer_where_no_text_ends() -> None:
    content = b'"' + rb"\"" * 200_000 + b"NaN"
    assert finite(content) is content
