"""Headers as they come from the network: pairs of bytes."""

from __future__ import annotations

from collections.abc import Iterable


def find_header(raw: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first of a request's headers by that name, in lower case."""
    for known, value in raw:
        if known == name:
            return value
    return None
