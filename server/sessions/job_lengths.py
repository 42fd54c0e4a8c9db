"""Learns from a gateway's own sessions how many further requests a job will have.

It is the mean number of further requests of the jobs that have run as long (docs/theory.md, section
5). With p(k), the share of jobs with k requests that had a further one, R(k) = p(k) * (1 + R(k +
1)). Jobs still under way need no special care: each request is counted once as the last one so far,
and once more when it has been followed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

# Requests are counted in ranges of their number in the job: 1, 2, 3 to 4, 5 to 8, ... and all above
# 1,024 together.
_RANGES: Final = 12
# What is known before the first job, R = 1, weighs as much as this many requests.
_PRIOR_REQUESTS: Final = 8.0
_PRIOR_SHARE: Final = 0.5
# Old jobs lose weight: in effect, about this many of the latest requests of each range count.
_MEMORY: Final = 2_000.0
# What is computed from the counts is renewed after this many requests.
_RENEWED_EVERY: Final = 16
_MOST: Final = 1_000.0
_MOST_CALLERS: Final = 1_000
_DIGITS: Final = 3


class _Counts:
    """The number of requests by range, and of those that were followed by another one."""

    __slots__ = ("_age", "_further", "_shares", "_starts", "followed", "requests")

    def __init__(self) -> None:
        self.requests = [0.0] * _RANGES
        self.followed = [0.0] * _RANGES
        self._age = 0
        self._shares: list[float] = []
        self._starts: list[float] = []
        # By number: R, until it is computed anew.
        self._further: dict[int, float] = {}

    def count(self, number: int) -> None:
        at = _range_of(number)
        if self.requests[at] >= _MEMORY:
            self.requests[at] *= 0.5
            self.followed[at] *= 0.5
        self.requests[at] += 1.0
        if number > 1:
            self.followed[_range_of(number - 1)] += 1.0
        self._age += 1

    @property
    def is_stale(self) -> bool:
        """Whether what is computed from the counts must be renewed."""
        return not self._shares or self._age >= _RENEWED_EVERY

    def shares(self, prior: list[float]) -> list[float]:
        """The share of requests that are followed, by range. prior: what is expected of it."""
        weight = _PRIOR_REQUESTS
        sums = zip(self.requests, self.followed, prior, strict=True)
        return [(min(n, f) + weight * p) / (n + weight) for n, f, p in sums]

    def renew(self, prior: list[float]) -> None:
        """Computes R anew. prior: see `shares`."""
        self._age, self._shares = 0, self.shares(prior)
        self._starts = _starts(self._shares)
        self._further.clear()

    def further(self, number: int) -> float:
        """R at a request of this number, by the last computation."""
        found = self._further.get(number)
        if found is None:
            found = self._further[number] = round(min(_MOST, self._computed(number)), _DIGITS)
        return found

    def _computed(self, number: int) -> float:
        at = _range_of(number)
        if at == _RANGES - 1:
            return self._starts[at]
        return _of_range(self._shares[at], (1 << at) - number + 1, self._starts[at + 1])


class JobLengths:
    """What is known about the lengths of jobs. Those of a caller are shrunk towards those of all
    callers, so that nobody decides for others that have jobs of their own."""

    def __init__(self) -> None:
        self._all = _Counts()
        self._own: OrderedDict[str, _Counts] = OrderedDict()

    def requested(self, caller: str, number: int) -> None:
        """Records a request. number: its place in its job, from 1."""
        own = self._own.get(caller)
        if own is None:
            own = self._own[caller] = _Counts()
            if len(self._own) > _MOST_CALLERS:
                self._own.popitem(last=False)
        self._own.move_to_end(caller)
        own.count(number)
        self._all.count(number)

    def further(self, caller: str, number: int) -> float:
        """How many requests of the job are expected after this one. number: its place in its job,
        from 1."""
        counts = self._own.get(caller, self._all)
        if counts.is_stale:
            prior = [_PRIOR_SHARE] * _RANGES
            counts.renew(prior if counts is self._all else self._all.shares(prior))
        return counts.further(number)


def _range_of(number: int) -> int:
    return min((number - 1).bit_length(), _RANGES - 1)


def _of_range(share: float, steps: int, beyond: float) -> float:
    """R with this many steps left in a range, at whose end it is `beyond`."""
    survived = share**steps
    return share * (1.0 - survived) / (1.0 - share) + survived * beyond


def _starts(shares: list[float]) -> list[float]:
    """R at the beginning of each range."""
    found = [shares[-1] / (1.0 - shares[-1])]
    for at in range(_RANGES - 2, -1, -1):
        found.append(_of_range(shares[at], max(1, (1 << at) // 2), found[-1]))
    return found[::-1]
