"""Ids as the Responses API makes them."""

from __future__ import annotations

import uuid


def new_id(prefix: str) -> str:
    """prefix: it tells of what kind the thing is."""
    return f"{prefix}_{uuid.uuid4().hex}"
