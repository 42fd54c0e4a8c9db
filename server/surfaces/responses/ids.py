"""Makes ids in the form of the Responses API."""

from __future__ import annotations

import uuid


def new_id(prefix: str) -> str:
    """A new id. prefix: shows the type of the object."""
    return f"{prefix}_{uuid.uuid4().hex}"
