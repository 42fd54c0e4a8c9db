"""The name of a request, and what it is made of."""

from __future__ import annotations

import os
import random
import time
from contextvars import ContextVar
from typing import Final

# Of the request that the running task serves, for lines in the log.
CURRENT_REQUEST: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
_RANDOM_BYTES: Final = 10


def new_request_id() -> str:
    """A name as `Entropy.request_id` makes it."""
    return f"req_{time.time_ns() // 1_000_000:012x}{os.urandom(_RANDOM_BYTES).hex()}"


class Entropy(random.SystemRandom):
    """The system's random numbers, and names for requests made of them."""

    def request_id(self) -> str:
        """Unique, and not to be guessed: 80 bits of chance. Before them the milliseconds since
        1970, as in a UUID of version 7, so that what is stored by this name is added at one end of
        an index and not all over it."""
        return new_request_id()
