"""Repairs JSON that strict readers refuse because of its text alone."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# An escaped backslash, a whole pair of surrogates, or half a pair.
_ESCAPES: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_HALF_BYTES: Final = len(rb"\ud800")


def loads(content: bytes) -> tuple[Any, bytes]:
    """What JSON holds, and the JSON, repaired where it could not be read as it was. Raises
    orjson.JSONDecodeError."""
    try:
        return orjson.loads(content), content
    except orjson.JSONDecodeError:
        repaired = well_formed(content)
        if repaired == content:
            raise
        return orjson.loads(repaired), repaired


def well_formed(content: bytes) -> bytes:
    """JSON without half pairs of surrogates, each of which becomes U+FFFD, and without a byte order
    mark; the same object where it has neither.

    JavaScript writes half a pair where a text was cut within a character, as agents cut the output
    of commands; every later request of such a conversation would be unreadable.
    """
    content = content.removeprefix(_BYTE_ORDER_MARK)
    return _ESCAPES.sub(_whole, content) if rb"\u" in content else content


def _whole(found: re.Match[bytes]) -> bytes:
    escape = found[0]
    return rb"\ufffd" if len(escape) == _HALF_BYTES else escape
