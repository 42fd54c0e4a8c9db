"""A circuit breaker: after too many failures nothing is sent for a while, then one probe is.

A pure state machine: time comes in with every call (monotonic seconds), so does chance.

CLOSED     requests go out and are counted; too many failures open it
OPEN       nothing goes out; each failed probe doubles how long
HALF_OPEN  one request at a time goes out as a probe: its success closes, its failure opens
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from router.record import record
from server.config.settings.breaker_rules import BreakerRules

_BUCKETS = 6
# Probes of several gateways are spread around the time that the rules say, by a fifth.
_LATEST: Final = 1.2


class BreakerState(Enum):
    """See the module."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@record(frozen=True, slots=True)
class Permit:
    """A request that was let out. era: the breaker's at that time; later eras ignore it."""

    era: int
    probe: bool


_OF_NO_ERA: Final = Permit(-1, probe=False)


class Breaker:
    """One per model and one per provider. chance: uniform in [0, 1), spreads the probes of
    several gateways."""

    def __init__(self, rules: BreakerRules, chance: Callable[[], float]) -> None:
        self._rules = rules
        self._chance = chance
        self._state = BreakerState.CLOSED
        self._era = 0
        self._permit = Permit(0, probe=False)
        self._in_a_row = 0
        self._window = _Window(rules.window_s)
        self._open_until = 0.0
        self._n_openings = 0
        self._probing = False

    def follow(self, rules: BreakerRules, now: float) -> None:
        """Other rules from now on. One that is open stays open, no longer than they allow."""
        if rules.window_s != self._rules.window_s:
            self._window = _Window(rules.window_s)
        self._open_until = min(self._open_until, now + _LATEST * rules.max_open_s)
        self._rules = rules

    def state(self, now: float) -> BreakerState:
        """An open breaker whose time is over is half open."""
        if self._state is BreakerState.OPEN and now >= self._open_until:
            return BreakerState.HALF_OPEN
        return self._state

    @property
    def is_closed(self) -> bool:
        """Requests go out; only a failure can change that."""
        return self._state is BreakerState.CLOSED

    def wait_s(self, now: float) -> float:
        """Seconds to leave it alone; 0 where a request may go out now."""
        if self._state is BreakerState.CLOSED:
            return 0.0
        state = self.state(now)
        if state is BreakerState.OPEN:
            return self._open_until - now
        if state is BreakerState.HALF_OPEN and self._probing:
            return self._rules.open_s
        return 0.0

    def begin(self, now: float) -> Permit:
        """A request goes out. One that goes out while another probes is counted as nothing."""
        state = self.state(now)
        if state is BreakerState.HALF_OPEN and not self._probing:
            self._probing = True
            return Permit(self._era, probe=True)
        return self._permit if state is BreakerState.CLOSED else _OF_NO_ERA

    def succeed(self, permit: Permit, now: float) -> None:
        """The request was answered."""
        if permit.era != self._era:
            return
        if permit.probe:
            self._close()
        self._in_a_row = 0
        self._window.add(now, failed=False)

    def fail(self, permit: Permit, now: float) -> None:
        """The request failed for a reason that is not the caller's."""
        if permit.era != self._era:
            return
        self._in_a_row += 1
        self._window.add(now, failed=True)
        if permit.probe or self._is_too_much(now):
            self._open(now)

    def abandon(self, permit: Permit) -> None:
        """Nobody waited for the outcome: it says nothing."""
        if permit.probe and permit.era == self._era:
            self._probing = False

    def _is_too_much(self, now: float) -> bool:
        if self._in_a_row >= self._rules.consecutive_failures:
            return True
        n_requests, n_failed = self._window.totals(now)
        return (
            n_requests >= self._rules.min_requests
            and n_failed >= self._rules.failure_ratio * n_requests
        )

    def _open(self, now: float) -> None:
        length_s = min(self._rules.open_s * 2.0**self._n_openings, self._rules.max_open_s)
        earliest = 2.0 - _LATEST
        share = earliest + (_LATEST - earliest) * self._chance()
        self._open_until = now + length_s * share
        self._n_openings = min(self._n_openings + 1, 32)
        self._enter(BreakerState.OPEN)

    def _close(self) -> None:
        self._n_openings = 0
        self._window = _Window(self._rules.window_s)
        self._enter(BreakerState.CLOSED)

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._era += 1
        self._permit = Permit(self._era, probe=False)
        self._probing = False


class _Window:
    """Counts of the last window_s seconds, in buckets."""

    def __init__(self, window_s: float) -> None:
        self._bucket_s = window_s / _BUCKETS
        self._buckets: deque[list[int]] = deque(maxlen=_BUCKETS)

    def add(self, now: float, *, failed: bool) -> None:
        number = int(now // self._bucket_s)
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append([number, 0, 0])
        self._buckets[-1][1] += 1
        self._buckets[-1][2] += failed

    def totals(self, now: float) -> tuple[int, int]:
        """(requests, failures)"""
        oldest = int(now // self._bucket_s) - _BUCKETS
        recent = [bucket for bucket in self._buckets if bucket[0] > oldest]
        return sum(bucket[1] for bucket in recent), sum(bucket[2] for bucket in recent)
