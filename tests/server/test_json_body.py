"""Bodies that two readers could take differently, and bodies made to hurt."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import InvalidRequestError
from server.json_body import MAX_DEPTH, MAX_VALUES, parse_body

TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), TREES, max_size=5), st.booleans())
def test_any_object_is_read_as_it_is(body: dict[str, Any], ascii_only: bool) -> None:
    try:
        raw = json.dumps(body, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return  # half a surrogate pair
    if "\\ud" in raw.decode().lower():
        return
    assert parse_body(raw) == body


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b'{"cost": 1, "cost": 2}', "cost"),
        (b'{"a": {"b": [{"c": 1, "c": 1}]}}', "'c'"),
        (rb'{"cost": 1, "\u0063ost": 2}', "cost"),
        (rb'{"a\"": 1, "a\"": 2, "x": "\\"}', 'a"'),
        (rb'{"x:\\": 1, "x:\\": 2}', "x:"),
    ],
)
def test_a_key_given_twice_is_refused_by_name(raw: bytes, named: str) -> None:
    with pytest.raises(InvalidRequestError, match="twice") as caught:
        parse_body(raw)
    assert named in caught.value.message


def test_colons_and_quotes_within_strings_are_no_keys() -> None:
    body = {'a:"b\\': '{"c": 1, "c": 2}', "d": [":", '\\":', "\\\\"]}
    assert parse_body(json.dumps(body).encode()) == body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"text"',
        b"{} {}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 01}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b"\xff\xfe{\x00}\x00",
        rb'{"a": "\ud800"}',
        b'{"a": "\x01"}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b"{" * 3000,
        b'{"a":' * 3000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_no_json_object_is_the_callers_fault(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        parse_body(raw)


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 400, 1000])
def test_depth_has_a_limit_also_with_a_budget(depth: int) -> None:
    inner = b"[" * (depth - 1) + b"]" * (depth - 1)
    raw = b'{"cost": 0.5, "a": ' + inner + b"}"
    if depth <= MAX_DEPTH:
        assert parse_body(raw)["cost"] == "0.5"
    else:
        with pytest.raises(InvalidRequestError, match="deep"):
            parse_body(raw)


@pytest.mark.parametrize(
    "raw", [b'{"a": [' + b"[]," * MAX_VALUES + b"0]}", b'{"a": [' + b"0," * MAX_VALUES + b"0]}"]
)
def test_a_body_of_a_million_values_is_not_even_parsed(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="more than"):
        parse_body(raw)


@pytest.mark.parametrize(
    "number", ["1e400", "1e99999999999999999999", "9" * 6000, "0." + "1" * 6000]
)
def test_numbers_at_the_edge_are_never_a_crash(number: str) -> None:
    for raw in (f'{{"cost": 0.1, "x": {number}}}', f'{{"cost": {number}}}'):
        with contextlib.suppress(InvalidRequestError):
            parse_body(raw.encode())


def test_a_budget_keeps_its_digits() -> None:
    raw = b'{"cost": 0.1000000000000000055, "p2l": {"budget_usd": 1e-7}}'
    assert parse_body(raw) == {"cost": "0.1000000000000000055", "p2l": {"budget_usd": "1e-7"}}
