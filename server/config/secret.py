"""A secret that cannot be printed by accident."""

from __future__ import annotations

from typing import Final

_STARS: Final = "**********"


class Secret:
    """Holds a secret; `str`, `repr` and formatting show stars. `reveal()` returns the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret value: for the code that sends it, never for a message or a log."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_STARS!r})"

    def __str__(self) -> str:
        return _STARS

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        # A pickle, or a deep copy into a report, would contain the value in clear text.
        raise TypeError("a Secret cannot be pickled")
