"""Headers in their network form."""

from __future__ import annotations

import pytest

from server.wire.headers import find_header, header_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(b"plain", "plain"), ("日本".encode(), "日本"), (b"caf\xe9", "café"), (b"", "")],
)
def test_a_text_is_read_in_either_encoding(value: bytes, text: str) -> None:
    assert header_text(value) == text


def test_the_first_header_of_a_name_is_found() -> None:
    raw = [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]
    assert find_header(raw, b"b") == b"2"
    assert find_header(raw, b"c") is None
