"""The name of a request."""

from __future__ import annotations

import os


def new_request_id() -> str:
    """Unique, and meaningless to anybody else."""
    return f"req_{os.urandom(16).hex()}"
