"""The name of a request."""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import Final

# Of the request that the running task serves, for lines in the log.
CURRENT_REQUEST: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)


def new_request_id() -> str:
    """Unique, and meaningless to anybody else."""
    return f"req_{os.urandom(16).hex()}"
