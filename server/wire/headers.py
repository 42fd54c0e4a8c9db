"""Reads headers in their network form: pairs of bytes."""

from __future__ import annotations

from collections.abc import Iterable


def find_header(raw: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The value of the first header of that name; the name must be in lower case."""
    for known, value in raw:
        if known == name:
            return value
    return None


def header_text(value: bytes) -> str:
    """The text of a header: UTF-8, which curl, httpx and SDKs send, and otherwise Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
