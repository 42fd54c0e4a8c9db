"""Selects the fields of a body that may be sent: there is a list for each object in it, and what is
not listed is removed.

A field of the caller's that is unknown here could choose another model or another price at the
provider. Where a budget, a window or a key bounds a request, only listed fields are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Body = Mapping[str, Any]
# Fields that are meant for the gateway: they are never sent, and not reported as left out.
OURS: Final = frozenset({"p2l", "cost"})
_CONTAINERS: Final = (dict, list)
# Fields without a meaning where there are no tools.
_OF_TOOLS: Final = ("tool_choice", "parallel_tool_calls")


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of an object, or of each object in a list, that may be sent.

    inner: name -> the fields inside it; None: anything. admits: which objects (or texts in a list)
    may be sent at all; None: all. others: whether fields that are not named may be sent too.
    """

    inner: Mapping[str, Fields | None]
    admits: Callable[[Any], bool] | None = None
    others: bool = False
    # The entries of `inner` in which something may have to be removed.
    nested: Mapping[str, Fields] = field(init=False, repr=False)
    names: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nested = {name: below for name, below in self.inner.items() if below is not None}
        object.__setattr__(self, "nested", nested)
        object.__setattr__(self, "names", frozenset(self.inner))

    @classmethod
    def named(cls, *names: str, **inner: Fields | None) -> Fields:
        """A list of fields. names: fields with any content."""
        return cls({**dict.fromkeys(names), **inner})


def of_kinds(fields: Fields, *kinds: str, default: str = "") -> Fields:
    """Objects whose `type` is one of kinds, or such texts; default: the type of an object without
    one."""
    known = frozenset(kinds)

    def admits(item: Any) -> bool:
        kind = item.get("type", default) if isinstance(item, dict) else item
        return isinstance(kind, str) and kind in known

    return Fields(fields.inner, admits, fields.others)


def trimmed(body: Body, fields: Fields, left_out: dict[str, None], path: str = "") -> Body:
    """The body without fields that are not listed; the same object where all are listed.

    left_out: receives the names of removed fields, as in "messages.content.x". path: of the body,
    with its final point.
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
    """The part of a field's value that may be sent; None where nothing of it may."""
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
