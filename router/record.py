"""Dataclasses that nobody changes, of which each request makes a few dozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

__all__ = ["record"]

T = TypeVar("T")

if TYPE_CHECKING:
    # checked like any frozen dataclass: who assigns to a field is told so by mypy
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool, **options: bool) -> Callable[[type[T]], type[T]]:
        """A dataclass whose fields the type checker alone protects: at run time a frozen one takes
        two and a half times as long to make. Hashed and compared by its fields."""
        return dataclass(unsafe_hash=frozen and options.get("eq", True), **options)
