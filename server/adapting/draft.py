"""A body on its way to one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

# Absent and null ask for nothing.
_NOTHING: Final = (None,)


@dataclass(frozen=True, slots=True)
class Adapted:
    """A body that the model takes. left_out: the names of what it is not sent, in order.
    reason: why it cannot take the request at all, None where it can."""

    body: Mapping[str, Any] = field(repr=False)
    left_out: tuple[str, ...] = ()
    reason: str | None = None


class Draft:
    """Copies the body once something changes, and remembers what is left out."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._copy: dict[str, Any] | None = None
        self._left_out: dict[str, None] = {}
        self.reason: str | None = None

    @property
    def body(self) -> Mapping[str, Any]:
        """As it is so far."""
        return self._body if self._copy is None else self._copy

    def get(self, name: str) -> Any:
        """A field's value, None where it asks for nothing."""
        return self.body.get(name)

    def put(self, name: str, value: Any) -> None:
        """Says it in other words."""
        if self._copy is None:
            self._copy = dict(self._body)
        self._copy[name] = value

    def lowered(self, name: str) -> bool:
        """Whether a field has another value than the caller's."""
        return self.body.get(name) != self._body.get(name)

    def drop(self, name: str, *, named: bool = True) -> None:
        """Leaves a field out. named: the caller learns of it; False for what asked for nothing."""
        if name not in self.body:
            return
        if named and self.body[name] not in _NOTHING:
            self.name(name)
        if self._copy is None:
            self._copy = dict(self._body)
        del self._copy[name]

    def name(self, what: str) -> None:
        """Something within a field is left out."""
        self._left_out[what] = None

    def refuse(self, reason: str) -> None:
        """The model cannot take what the caller truly needs; the first reason counts."""
        if self.reason is None:
            self.reason = reason

    def done(self) -> Adapted:
        """What has become of it."""
        return Adapted(self.body, tuple(self._left_out), self.reason)
