"""Which fields of a body may leave: a list for each object in it, and what is not on a list stays.

What a caller adds that nobody here has read could choose another model or another price at the
provider. Where a budget, a window or a key bounds a request, only what is listed goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Body = Mapping[str, Any]
# What a caller says to us: it never goes out, and is not named as left out.
OURS: Final = frozenset({"p2l", "cost"})
_CONTAINERS: Final = (dict, list)
# What means nothing where no tools are.
_OF_TOOLS: Final = ("tool_choice", "parallel_tool_calls")


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of an object, or of each object in a list, that may go out.

    inner: name -> the fields of what is in it; None: whatever is in it. admits: which objects (or
    texts of a list) may go out at all; None: all. others: fields that are not named go out too.
    """

    inner: Mapping[str, Fields | None]
    admits: Callable[[Any], bool] | None = None
    others: bool = False
    # those of inner in which something may have to stay
    nested: Mapping[str, Fields] = field(init=False, repr=False)
    names: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nested = {name: below for name, below in self.inner.items() if below is not None}
        object.__setattr__(self, "nested", nested)
        object.__setattr__(self, "names", frozenset(self.inner))

    @classmethod
    def named(cls, *names: str, **inner: Fields | None) -> Fields:
        """names: fields with whatever is in them."""
        return cls({**dict.fromkeys(names), **inner})


def of_kinds(fields: Fields, *kinds: str, default: str = "") -> Fields:
    """Objects whose `type` is one of kinds, or texts that are; default: the type of an object
    that does not say its own."""
    known = frozenset(kinds)

    def admits(item: Any) -> bool:
        kind = item.get("type", default) if isinstance(item, dict) else item
        return isinstance(kind, str) and kind in known

    return Fields(fields.inner, admits, fields.others)


def trimmed(body: Body, fields: Fields, left_out: dict[str, None], path: str = "") -> Body:
    """The body without what is not listed; itself where all of it is.

    left_out: the names of what is left out are added, as in "messages.content.x". path: of the
    body, with its last point.
    """
    nested = fields.nested
    changed: dict[str, Any] = {}
    gone: list[str] = []
    if not (fields.others or fields.names.issuperset(body)):
        gone = [name for name in body if name not in fields.names]
    for name, value in body.items():
        if value.__class__ not in _CONTAINERS or name not in nested:
            continue
        kept = _below(value, nested[name], left_out, f"{path}{name}.")
        if kept is None:
            gone.append(name)
        elif kept is not value:
            changed[name] = kept
    if not gone and not changed:
        return body
    return _without(body, changed, gone, left_out, path)


def _without(
    body: Body, changed: Body, gone: list[str], left_out: dict[str, None], path: str
) -> dict[str, Any]:
    if "tools" in gone:
        gone += [name for name in _OF_TOOLS if name in body and name not in gone]
    for name in gone:
        if body[name] is not None and (path or name not in OURS):
            left_out[path + name] = None
    hidden = frozenset(gone)
    return {n: changed.get(n, value) for n, value in body.items() if n not in hidden}


def _below(value: Any, fields: Fields, left_out: dict[str, None], path: str) -> Any:
    """What of a field's value may go out; None where nothing of it may."""
    admits = fields.admits
    if value.__class__ is dict:
        return trimmed(value, fields, left_out, path) if admits is None or admits(value) else None
    kept = []
    same = True
    for item in value:
        if item.__class__ is dict and (admits is None or admits(item)):
            now = trimmed(item, fields, left_out, path)
            same = same and now is item
            kept.append(now)
        elif item.__class__ in _CONTAINERS or (admits is not None and not admits(item)):
            left_out[path + _kind(item)] = None
            same = False
        else:
            kept.append(item)
    return value if same else (kept or None)


def _kind(item: Any) -> str:
    """A name for an item of a list."""
    kind = item.get("type") if isinstance(item, dict) else item
    return kind if isinstance(kind, str) else "?"
