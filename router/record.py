"""Immutable dataclasses that are cheap to make, as each request makes a few dozen of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

__all__ = ["record"]

T = TypeVar("T")

if TYPE_CHECKING:
    # For mypy this is a frozen dataclass: it reports any assignment to a field.
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool, **options: bool) -> Callable[[type[T]], type[T]]:
        """A dataclass whose fields only the type checker protects, since a frozen one takes two and
        a half times as long to make at run time. It is compared and hashed by its fields."""
        return dataclass(unsafe_hash=frozen and options.get("eq", True), **options)
