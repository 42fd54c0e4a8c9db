"""The name of a request, and what it is made of."""

from __future__ import annotations

import os
import random
import time
from contextvars import ContextVar
from typing import Final

# Of the request that the running task serves, for lines in the log.
CURRENT_REQUEST: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
_BLOCK_BYTES: Final = 4096
_RANDOM_BYTES: Final = 10


def new_request_id() -> str:
    """See Entropy.request_id."""
    return _named(os.urandom(_RANDOM_BYTES))


def _named(chance: bytes) -> str:
    return f"req_{time.time_ns() // 1_000_000:012x}{chance.hex()}"


class Entropy(random.SystemRandom):
    """The system's random numbers, fetched some hundreds at a time: no system call for each.

    Not to be used on both sides of a fork.
    """

    def __init__(self) -> None:
        super().__init__()
        self._block = b""
        self._used = 0

    def randbytes(self, n: int) -> bytes:
        """See random.Random."""
        if n > _BLOCK_BYTES:
            return os.urandom(n)
        if self._used + n > len(self._block):
            self._block, self._used = os.urandom(_BLOCK_BYTES), 0
        start = self._used
        self._used = start + n
        return self._block[start : self._used]

    def random(self) -> float:
        """See random.Random."""
        return (int.from_bytes(self.randbytes(7), "big") >> 3) * 2.0**-53

    def getrandbits(self, k: int) -> int:
        """See random.Random."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        n_bytes = (k + 7) // 8
        return int.from_bytes(self.randbytes(n_bytes), "big") >> (n_bytes * 8 - k)

    def request_id(self) -> str:
        """Unique, and not to be guessed: 80 bits of chance. Before them the milliseconds since
        1970, as in a UUID of version 7, so that what is stored by this name is added at one end of
        an index and not all over it."""
        return _named(self.randbytes(_RANDOM_BYTES))
