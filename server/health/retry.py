"""When to retry the same model: full jitter, and a budget that prevents retry storms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_BASE_S = 0.1
_CAP_S = 2.0


def full_jitter_s(n_retries: int, chance: Callable[[], float]) -> float:
    """Seconds before the next try: uniform between 0 and an exponential bound (100 ms to 2 s).

    n_retries: the retries made so far. "Full jitter" of Brooker, Exponential Backoff And Jitter,
    2015.
    """
    return chance() * min(_CAP_S, _BASE_S * 2.0 ** min(n_retries, 32))


@dataclass(slots=True)
class RetryBudget:
    """A limit on retries: a share of the requests, and a few per second in addition.

    Where everything fails, each request would otherwise be sent several times to providers that are
    failing already. ratio: retries per request; per_s: the minimum rate for a gateway with few
    requests.
    """

    ratio: float = 0.2
    per_s: float = 1.0
    most: float = 50.0
    _balance: float = 5.0
    _at: float | None = None

    def request(self, now: float) -> None:
        """Counts a request. now: monotonic seconds."""
        self._refill(now, self.ratio)

    def take(self, now: float) -> bool:
        """Whether one retry may be made; it is then deducted."""
        self._refill(now, 0.0)
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True

    def _refill(self, now: float, more: float) -> None:
        passed_s = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._balance = min(self.most, self._balance + more + passed_s * self.per_s)
