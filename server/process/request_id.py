"""Request ids, and their source of randomness."""

from __future__ import annotations

import os
import random
import time
from contextvars import ContextVar
from typing import Final

# The id of the request that the running task serves, for lines in the log.
CURRENT_REQUEST: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
_RANDOM_BYTES: Final = 10


def new_request_id() -> str:
    """A new id, as `Entropy.request_id` makes it."""
    return f"req_{time.time_ns() // 1_000_000:012x}{os.urandom(_RANDOM_BYTES).hex()}"


class Entropy(random.SystemRandom):
    """The system's random numbers, and request ids made of them."""

    def request_id(self) -> str:
        """A unique id that cannot be guessed: 80 random bits. They follow the milliseconds since
        1970, as in a UUID of version 7, so that rows with this key are added at one end of an index
        and not all over it."""
        return new_request_id()
