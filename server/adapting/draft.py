"""A body that is being adapted to one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

# Values that ask for nothing: the field is absent or null.
_NOTHING: Final = (None,)


@dataclass(frozen=True, slots=True)
class Adapted:
    """An adapted body. left_out: the names of what is not sent, in order. reason: why the model
    cannot serve the request at all; None where it can."""

    body: Mapping[str, Any] = field(repr=False)
    left_out: tuple[str, ...] = ()
    reason: str | None = None


class Draft:
    """Copies the body once something changes, and records what is left out."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._copy: dict[str, Any] | None = None
        self._left_out: dict[str, None] = {}
        self.reason: str | None = None

    @property
    def body(self) -> Mapping[str, Any]:
        """The body so far."""
        return self._body if self._copy is None else self._copy

    def get(self, name: str) -> Any:
        """A field's value; None where it asks for nothing."""
        return self.body.get(name)

    def put(self, name: str, value: Any) -> None:
        """Sets a field to an equivalent value."""
        if self._copy is None:
            self._copy = dict(self._body)
        self._copy[name] = value

    def lowered(self, name: str) -> bool:
        """Whether a field has another value than the caller's."""
        return self.body.get(name) != self._body.get(name)

    def drop(self, name: str, *, named: bool = True) -> None:
        """Removes a field. named: whether the caller is told; False for a field that asked for
        nothing."""
        if name not in self.body:
            return
        if named and self.body[name] not in _NOTHING:
            self.name(name)
        if self._copy is None:
            self._copy = dict(self._body)
        del self._copy[name]

    def name(self, what: str) -> None:
        """Records that something within a field is left out."""
        self._left_out[what] = None

    def refuse(self, reason: str) -> None:
        """Records that the model cannot serve something essential; the first reason counts."""
        if self.reason is None:
            self.reason = reason

    def done(self) -> Adapted:
        """The result."""
        return Adapted(self.body, tuple(self._left_out), self.reason)
