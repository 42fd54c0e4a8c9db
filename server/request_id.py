"""The name of a request."""

from __future__ import annotations

import uuid


def new_request_id() -> str:
    """Unique, and meaningless to anybody else."""
    return f"req_{uuid.uuid4().hex}"
