"""Values that do not belong where they stand: each place of a JSON value is given each of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]
# A key that ends so stands twice in what `dumped` writes.
TWIN = "\0twin"
GONE = object()


def _deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


ODD: tuple[Any, ...] = (
    GONE, None, True, False, 0, -1, 7, 1.5, -0.0, 1e308, 2**31, 2**52, 2**53, 2**64, -(2**63),
    "", "NaN", "x", "5", "-1", [], {}, [None], ["x"], [[]], [{}], {"a": 1}, {"type": 5},
    {"type": "text"}, {"type": []}, [{"type": "text"}], [{"type": "tool_use"}],
    {"text": {"a": []}}, _deep(40),
)  # fmt: skip


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every value inside another one."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else items:
        yield from places(inner, (*path, key))


def changed(value: Any, path: Path, odd: Any, *, twin: bool = False) -> Any:
    """The value with something else at one place. twin: the key stands twice, first as it was."""
    made = copy.copy(value)
    key, rest = path[0], path[1:]
    if rest:
        made[key] = changed(value[key], rest, odd, twin=twin)
    elif twin and isinstance(key, str):
        made[key + TWIN] = odd
    elif odd is GONE:
        del made[key]
    else:
        made[key] = odd
    return made


def spelled(path: Path) -> str:
    """A path as callers write it."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def dumped(value: Any) -> bytes:
    """The JSON text, with twins under one name. `NaN` and infinities do not occur."""
    return json.dumps(value).replace(json.dumps(TWIN)[1:-1], "").encode()
