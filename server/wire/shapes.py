"""Fits JSON of a provider to the shape in which it is translated: a value of another type than its
place has is left out, as though the provider had not sent it.

A provider's JSON may hold any type anywhere: an answer that is translated is fitted first, so that
the translation need not ask at every place what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

# From here on, a float does not distinguish one number from the next.
_MOST: Final = 2**53


class _Misfit:
    """Stands for a value that has no place in its shape."""


MISFIT: Final = _Misfit()


class Shape(Protocol):
    """What a value has to be."""

    def fit(self, value: Any) -> Any:
        """The value without what does not fit; the same object where all of it fits, MISFIT where
        nothing of it does."""


class Text:
    """A string."""

    def fit(self, value: Any) -> Any:
        """A string as it is; MISFIT for anything else."""
        return value if value.__class__ is str else MISFIT


class Number:
    """A number of a size that can be counted with. whole: an integer."""

    def __init__(self, *, whole: bool = False) -> None:
        self._kinds = (int,) if whole else (int, float)

    def fit(self, value: Any) -> Any:
        """A number as it is; MISFIT for anything else."""
        return value if value.__class__ in self._kinds and abs(value) < _MOST else MISFIT


class Fields:
    """An object. Fields that are not named stay as they are, and so do those that are null. needs:
    without these it is a misfit itself."""

    def __init__(self, needs: tuple[str, ...] = (), /, **fields: Shape) -> None:
        self._needs = needs
        self._fields = fields

    def fit(self, value: Any) -> Any:
        """The object without what does not fit; MISFIT for anything else."""
        if value.__class__ is not dict:
            return MISFIT
        fitted, fields = value, self._fields
        for name, given in value.items():
            shape = fields.get(name)
            if shape is None or given is None:
                continue
            kept = shape.fit(given)
            if kept is not given:
                fitted = dict(value) if fitted is value else fitted
                fitted[name] = None if kept is MISFIT else kept
        for name in self._needs:
            if fitted.get(name) is None:
                return MISFIT
        return fitted


class OneOf:
    """An object whose field `type` says which shape it has. Objects of other types stay as they
    are; those without a type are misfits."""

    def __init__(self, **shapes: Shape) -> None:
        self._shapes = shapes

    def fit(self, value: Any) -> Any:
        """The object by the shape of its type; MISFIT for anything without a type."""
        kind = value.get("type") if value.__class__ is dict else None
        if kind.__class__ is not str:
            return MISFIT
        shape = self._shapes.get(kind)
        return value if shape is None else shape.fit(value)


class Each:
    """A list. Its misfits are left out; whole: one of them makes a misfit of all. instead: what
    takes the place of a value that is no list."""

    def __init__(self, shape: Shape, *, whole: bool = False, instead: Any = MISFIT) -> None:
        self._shape = shape
        self._whole = whole
        self._instead = instead

    def fit(self, value: Any) -> Any:
        """The list without its misfits; MISFIT, or `instead`, for anything else."""
        if value.__class__ is not list:
            return self._instead
        fit = self._shape.fit
        fitted = [fit(item) for item in value]
        if all(a is b for a, b in zip(fitted, value, strict=True)):
            return value
        if self._whole and MISFIT in fitted:
            return self._instead
        return [item for item in fitted if item is not MISFIT]


TEXT: Final = Text()
NUMBER: Final = Number()
WHOLE: Final = Number(whole=True)
OBJECT: Final = Fields()
OBJECTS: Final = Each(OBJECT)


def fitted(value: Any, shape: Fields) -> dict[str, Any]:
    """An object without what does not fit; the same one where all of it fits, an empty one where it
    is none."""
    found = shape.fit(value)
    return {} if found is MISFIT else found


def word(value: object) -> str:
    """A value that is used as a name, for example a type; empty where it is no string."""
    return value if isinstance(value, str) else ""


def objects(value: object) -> list[dict[str, Any]]:
    """The objects in a list; none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object in a field; empty where there is none."""
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}
