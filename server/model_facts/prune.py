"""Removes empty cells from rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pruned(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The cells without None and empty collections."""
    return {
        key: value for key, value in cells.items() if value is not None and value not in ([], {})
    }
