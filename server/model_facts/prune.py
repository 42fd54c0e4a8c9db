"""Rows without their empty cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pruned(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None or an empty collection."""
    return {
        key: value for key, value in cells.items() if value is not None and value not in ([], {})
    }
