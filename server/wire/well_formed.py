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
# A text, perhaps without its end, or a number that JSON does not have.
_TEXT_OR_ODD: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|-?\b(?:NaN|Infinity)\b', re.DOTALL)
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


def finite(content: bytes) -> bytes:
    """JSON in which NaN and the infinities are null; the same object where it has none.

    Python writes them: servers send the log probability of a token that cannot be as -Infinity.
    """
    if b"NaN" not in content and b"Infinity" not in content:
        return content
    made = _TEXT_OR_ODD.sub(_finite, content)
    return content if made == content else made


def _finite(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b"null"


def _whole(found: re.Match[bytes]) -> bytes:
    escape = found[0]
    return rb"\ufffd" if len(escape) == _HALF_BYTES else escape
