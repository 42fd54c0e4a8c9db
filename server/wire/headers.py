"""Reads headers in their network form: pairs of bytes."""

from __future__ import annotations

from collections.abc import Iterable


def find_header(raw: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The value of the first header of that name; the name must be in lower case."""
    for known, value in raw:
        if known == name:
            return value
    return None
