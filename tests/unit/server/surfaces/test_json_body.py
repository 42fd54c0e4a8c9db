"""Bodies that two readers could take differently, and bodies made to hurt."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import InvalidRequestError
from server.surfaces.json_body import MAX_DEPTH, MOST, parse_body
from server.wire.json_pieces import NotJsonError, dumps_in_pieces, loads_in_pieces
from server.wire.json_size import size_of

TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.slow
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
    "raw",
    [
        b'{"a": [' + b"[]," * MOST.values + b"0]}",
        b'{"a": [' + b"0," * MOST.values + b"0]}",
        b'{"a": [' + b"[]," * MOST.containers + b"0]}",
        b'{"a": [' + b"{}," * MOST.containers + b"0]}",
        b"{" + b",".join(b'"%d":0' % n for n in range(MOST.keys + 1)) + b"}",
        b'{"a": "' + b"\\n" * (MOST.backslashes + 1) + b'"}',
    ],
    ids=["values", "numbers", "lists", "objects", "keys", "escapes"],
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


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 64 * 1024])
@given(tree=TREES, ascii_only=st.booleans())
def test_what_a_body_holds_is_counted_by_the_piece(
    piece_bytes: int, tree: Any, ascii_only: bool
) -> None:
    raw = json.dumps({'k"\\': tree}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("server.wire.json_size.PIECE_BYTES", piece_bytes)
        size = size_of(raw, MOST)
    assert (size.containers, size.keys) == _counted({'k"\\': tree})


def _counted(tree: object) -> tuple[int, int]:
    """(lists and objects, keys)"""
    if not isinstance(tree, dict | list):
        return 0, 0
    inner = [_counted(value) for value in (tree.values() if isinstance(tree, dict) else tree)]
    n_keys = len(tree) if isinstance(tree, dict) else 0
    return 1 + sum(n for n, _ in inner), n_keys + sum(n for _, n in inner)


@given(
    tree=TREES, spaced=st.booleans(), at=st.integers(0, 10_000), new=st.sampled_from('[]{},:"\\ 1')
)
def test_in_pieces_json_is_what_it_is_at_once(tree: Any, spaced: bool, at: int, new: str) -> None:
    """Spoilt JSON too: it is refused, or means the same."""
    whole = json.dumps({"a": [tree, tree]}, indent=1 if spaced else None)
    at %= len(whole)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("server.wire.json_pieces._LONG_BYTES", 20)
        patched.setattr("server.wire.json_pieces._GROUP_BYTES", 8)
        patched.setattr("server.wire.json_pieces._GROUP_ELEMENTS", 2)
        for text in (whole, whole[:at] + new + whole[at + 1 :], whole[:at] + whole[at + 1 :]):
            raw = text.encode("utf-8", "surrogatepass")
            try:
                expected = orjson.loads(raw)
            except orjson.JSONDecodeError:
                with pytest.raises(NotJsonError):
                    loads_in_pieces(raw)
            else:
                assert loads_in_pieces(raw) == expected
                if isinstance(expected, dict):
                    assert dumps_in_pieces(expected) == orjson.dumps(expected)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"a": "\\ud800"}', "\ufffd"),
        (b'\xef\xbb\xbf{"a": "b"}', "b"),
        (b'{"a": "\\ud83d\\ude00"}', "\U0001f600"),
    ],
)
def test_half_a_pair_of_surrogates_is_read(raw: bytes, text: str) -> None:
    assert parse_body(raw) == {"a": text}


def test_half_a_pair_makes_no_key_twice() -> None:
    with pytest.raises(InvalidRequestError, match="twice"):
        parse_body(b'{"\\ud800": 1, "\\ud801": 2}')
