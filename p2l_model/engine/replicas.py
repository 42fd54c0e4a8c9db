"""Chooses among several equal services: the healthy one with the least work."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

# A replica is paused after this many failures in a row. A single failure may be the prompt's fault.
_TOLERATED: Final = 3
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 15.0


@dataclass(slots=True, eq=False)
class Replica:
    """One service. until_s: the end of its pause, by the clock; failures: how many in a row."""

    url: str
    in_flight: int = 0
    failures: int = 0
    until_s: float = -math.inf

    @property
    def is_suspect(self) -> bool:
        """Whether it failed too often lately: it then gets one request at a time until it
        answers."""
        return self.failures >= _TOLERATED


class Replicas:
    """The replicas; there is always at least one. clock: monotonic seconds."""

    def __init__(self, urls: Sequence[str], clock: Callable[[], float]) -> None:
        self._all = [Replica(url.rstrip("/")) for url in urls]
        self._clock = clock
        self._turn = 0

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._all)

    def usable(self, tried: Collection[Replica]) -> list[Replica]:
        """The replicas that may be asked now, the least loaded first; equals take turns."""
        now_s = self._clock()
        self._turn += 1
        rotated = (
            self._all[self._turn % len(self._all) :] + self._all[: self._turn % len(self._all)]
        )
        able = [
            replica
            for replica in rotated
            if replica not in tried
            and replica.until_s <= now_s
            and not (replica.is_suspect and replica.in_flight > 0)
        ]
        return sorted(able, key=lambda replica: replica.in_flight)

    @contextmanager
    def asking(self, replica: Replica) -> Iterator[None]:
        """Counts a request as running there."""
        replica.in_flight += 1
        try:
            yield
        finally:
            replica.in_flight -= 1

    def answered(self, replica: Replica) -> None:
        """Records an answer: the replica is healthy."""
        replica.failures = 0
        replica.until_s = -math.inf

    def failed(self, replica: Replica, *, gone: bool = False) -> None:
        """Records a failure. gone: nobody listens at the address, so that one failure is enough.
        Each pause is twice as long as the one before."""
        replica.failures = max(replica.failures + 1, _TOLERATED if gone else 0)
        if replica.is_suspect:
            pause_s = _FIRST_PAUSE_S * 2.0 ** min(replica.failures - _TOLERATED, 10)
            replica.until_s = self._clock() + min(pause_s, _LONGEST_PAUSE_S)

    def busy(self, replica: Replica, seconds: float) -> None:
        """Records that it is healthy but asked not to be called for that many seconds."""
        replica.until_s = self._clock() + min(seconds, _LONGEST_PAUSE_S)
