"""Estimates the size of JSON before it is parsed, piece by piece, at the speed of the C library."""

from __future__ import annotations

from typing import Final, NamedTuple

PIECE_BYTES: Final = 64 * 1024


class JsonSize(NamedTuple):
    """Counts, or limits on them. values: approximate, of all kinds; containers: lists and
    objects."""

    values: int
    containers: int
    keys: int
    backslashes: int


# Words for JsonSize's fields.
_NAMES: Final = ("values", "lists and objects", "keys", "backslashes")


class TooManyError(Exception):
    """The JSON exceeds a limit; the message says which, as in "more than 100000 keys"."""


def size_of(raw: bytes, most: JsonSize) -> JsonSize:
    """The counts, which are correct where raw is JSON; otherwise its parser will report it.

    Raises TooManyError for the first limit that is exceeded.
    """
    n_commas = n_containers = n_keys = n_backslashes = start = 0
    within_string = 0
    found = JsonSize(0, 0, 0, 0)
    while start < len(raw):
        end = start + PIECE_BYTES
        piece = raw[start:end]
        if b"\\" in piece:
            if (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1:
                # An escape must not be cut in two.
                end += 1
                piece = raw[start:end]
            n_backslashes += piece.count(b"\\")
        outside, within_string = _outside_strings(piece, within_string)
        n_containers += outside.count(b"[") + outside.count(b"{")
        n_commas += outside.count(b",")
        n_keys += outside.count(b":")
        start = end
        found = JsonSize(n_commas + n_containers, n_containers, n_keys, n_backslashes)
        if any(map(int.__gt__, found, most)):
            index = next(i for i, n in enumerate(found) if n > most[i])
            raise TooManyError(f"more than {most[index]} {_NAMES[index]}")
    return found


def keys_of_small(raw: bytes) -> int:
    """The number of keys in a text that is read as one piece."""
    return _outside_strings(raw, 0)[0].count(b":")


def _outside_strings(piece: bytes, within_string: int) -> tuple[bytes, int]:
    """What of a piece stands outside of strings, and whether its end stands within one.
    within_string: 1 where its beginning does, else 0."""
    if b"\\" in piece:
        piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
    parts = piece.split(b'"')
    return b"".join(parts[within_string::2]), (within_string + len(parts) + 1) % 2
