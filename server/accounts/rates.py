"""Limits requests and tokens per minute by token buckets: a minute's worth at once, then evenly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from server.auth.authenticator import Caller
from server.errors import OverloadedError, RateLimitedError
from server.storage.errors import StorageError

_MINUTE_S: Final = 60.0
_SWEEP: Final = 10_000


class Rates(Protocol):
    """The store in which rates are counted."""

    async def take(self, name: str, per_minute: int, amount: int) -> float:
        """Takes an amount. Returns 0.0 where the bucket has it, else the seconds until it will.

        amount 0: only checks whether anything is left.
        """

    def owe(self, name: str, per_minute: int, amount: int) -> None:
        """Takes the amount even where the bucket does not have it. Does not wait."""

    async def close(self) -> None:
        """Finishes the work in progress."""


class Bucket:
    """A token bucket, which starts full. Pure: the time is an argument."""

    __slots__ = ("at", "level")

    def __init__(self, per_minute: int, now: float) -> None:
        self.level = float(per_minute)
        self.at = now

    def take(self, per_minute: int, amount: int, now: float) -> float:
        """Takes an amount. Returns 0.0 where the bucket has it, else the seconds until it will."""
        self._refill(per_minute, now)
        needed = max(1, amount)
        if self.level < needed:
            return (needed - self.level) * _MINUTE_S / per_minute
        self.level -= amount
        return 0.0

    def owe(self, per_minute: int, amount: int, now: float) -> None:
        """Takes the amount even where the bucket does not have it."""
        self._refill(per_minute, now)
        self.level -= amount

    def _refill(self, per_minute: int, now: float) -> None:
        earned = max(0.0, now - self.at) * per_minute / _MINUTE_S
        self.level = min(float(per_minute), self.level + earned)
        self.at = now


class MemoryRates:
    """The buckets of one process; they start full."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    async def take(self, name: str, per_minute: int, amount: int) -> float:
        """Takes an amount. Returns 0.0 where the bucket has it, else the seconds until it will."""
        now = self._clock()
        return self._bucket(name, per_minute, now).take(per_minute, amount, now)

    def owe(self, name: str, per_minute: int, amount: int) -> None:
        """Takes the amount even where the bucket does not have it."""
        now = self._clock()
        self._bucket(name, per_minute, now).owe(per_minute, amount, now)

    async def close(self) -> None:
        """Does nothing: there is no work in progress."""

    def _bucket(self, name: str, per_minute: int, now: float) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            self._sweep(now)
            bucket = self._buckets[name] = Bucket(per_minute, now)
        return bucket

    def _sweep(self, now: float) -> None:
        # A bucket without debt is full again after a minute, and a full one need not be stored.
        if len(self._buckets) >= _SWEEP:
            full = [
                name
                for name, bucket in self._buckets.items()
                if bucket.level >= 0 and now - bucket.at > _MINUTE_S
            ]
            for name in full:
                del self._buckets[name]


class Limiter:
    """Limits each key's requests and tokens per minute."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates

    async def admit(self, caller: Caller) -> None:
        """Counts a request. Raises RateLimitedError.

        Tokens are counted when they are known, at the end of a request: a key that has used more
        than its limit waits until the bucket has refilled.
        """
        limits = caller.limits
        if limits.tokens_per_minute is not None:
            wait_s = await self._take(f"tokens:{caller.name}", limits.tokens_per_minute, 0)
            if wait_s > 0:
                raise RateLimitedError(wait_s, f"{limits.tokens_per_minute} tokens")
        if limits.requests_per_minute is not None:
            await self._request(f"requests:{caller.name}", limits.requests_per_minute)

    async def admit_feedback(self, caller: Caller, per_minute: int) -> None:
        """Counts an opinion. Raises RateLimitedError."""
        await self._request(f"feedback:{caller.name}", per_minute)

    def used(self, caller: Caller, n_tokens: int) -> None:
        """Counts used tokens. Does not wait."""
        per_minute = caller.limits.tokens_per_minute
        if per_minute is not None and n_tokens > 0:
            self._rates.owe(f"tokens:{caller.name}", per_minute, n_tokens)

    async def close(self) -> None:
        await self._rates.close()

    async def _take(self, name: str, per_minute: int, amount: int) -> float:
        try:
            return await self._rates.take(name, per_minute, amount)
        except StorageError:
            raise OverloadedError("Rate limits cannot be checked just now.") from None

    async def _request(self, name: str, per_minute: int) -> None:
        wait_s = await self._take(name, per_minute, 1)
        if wait_s > 0:
            raise RateLimitedError(wait_s, f"{per_minute} requests")
