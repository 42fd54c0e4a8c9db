"""Reads and writes long JSON piece by piece: while orjson works, no other thread runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

# A longer list is parsed in groups of elements, each of about this many bytes.
_LONG_BYTES: Final = 256 * 1024
_GROUP_BYTES: Final = 64 * 1024
_GROUP_ELEMENTS: Final = 64
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]+|\\.)*+"|[\[\]{}]', re.DOTALL)
_SPACE: Final = b" \t\r\n"
# Stands for a long list while the rest is parsed: no provider's text begins like this by chance.
_MARK: Final = "\x00p2l-list-"


class NotJsonError(ValueError):
    """The bytes are not JSON."""


@dataclass(slots=True)
class _Open:
    """A list or object that has begun. ends: the ends of its elements that are lists or objects."""

    start: int
    is_list: bool
    ends: list[int] = field(default_factory=list)
    holds_long: bool = False


def loads_in_pieces(raw: bytes) -> Any:
    """Returns what orjson.loads(raw) returns. Raises NotJsonError.

    The innermost long lists of lists and objects are cut out and parsed separately.
    """
    try:
        lists = [*_long_lists(raw)]
        skeleton, at = [], 0
        for number, (one, end) in enumerate(lists):
            skeleton += [raw[at : one.start], b'"\\u0000p2l-list-%d"' % number]
            at = end
        parsed = orjson.loads(b"".join([*skeleton, raw[at:]]))
        filled = [_elements(raw, one, end) for one, end in lists]
        return _with_lists(parsed, filled)
    except (orjson.JSONDecodeError, RecursionError, IndexError) as error:
        raise NotJsonError from error


def dumps_in_pieces(body: dict[str, Any]) -> bytes:
    """Returns what orjson.dumps(body) returns."""
    pieces = [
        b"%b:%b"
        % (orjson.dumps(key), _dumped(value) if isinstance(value, list) else orjson.dumps(value))
        for key, value in body.items()
    ]
    return b"{%b}" % b",".join(pieces)


def _dumped(elements: list[Any]) -> bytes:
    groups = range(0, len(elements), _GROUP_ELEMENTS)
    parts = [orjson.dumps(elements[at : at + _GROUP_ELEMENTS])[1:-1] for at in groups]
    return b"[%b]" % b",".join(parts)


def _long_lists(raw: bytes) -> Iterator[tuple[_Open, int]]:
    """The long lists, each with its end, in order."""
    stack: list[_Open] = []
    for found in _STRUCTURE.finditer(raw):
        match raw[found.start()]:
            case 0x5B | 0x7B as opening:  # [ {
                stack.append(_Open(found.start(), opening == 0x5B))
            case 0x5D | 0x7D as closing:  # ] }
                one = stack.pop()
                if one.is_list is not (closing == 0x5D):
                    raise IndexError
                is_long = found.end() - one.start > _LONG_BYTES
                if is_long and one.is_list and one.ends and not one.holds_long:
                    one.holds_long = True
                    yield one, found.end()
                if stack:
                    stack[-1].ends.append(found.end())
                    stack[-1].holds_long |= one.holds_long


def _elements(raw: bytes, one: _Open, end: int) -> list[Any]:
    elements: list[Any] = []
    at = one.start + 1
    for index, cut in enumerate(one.ends):
        is_last = index == len(one.ends) - 1
        if not is_last and cut - at < _GROUP_BYTES:
            continue
        group = raw[at : end - 1 if is_last else cut]
        if elements:
            group = group.lstrip(_SPACE)
            if not group.startswith(b","):
                raise IndexError
            group = group[1:]
        elements += orjson.loads(b"".join((b"[", group, b"]")))
        at = cut
    return elements


def _with_lists(value: Any, lists: list[list[Any]]) -> Any:
    """The value with each mark replaced by its list."""
    if isinstance(value, str) and value.startswith(_MARK):
        return lists[int(value.removeprefix(_MARK))]
    if isinstance(value, list):
        return [_with_lists(item, lists) for item in value]
    if isinstance(value, dict):
        return {key: _with_lists(item, lists) for key, item in value.items()}
    return value
