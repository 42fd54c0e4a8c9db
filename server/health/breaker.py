"""A circuit breaker: after too many failures nothing is sent for a while, then one probe.

A pure state machine: the time (monotonic seconds) and random numbers are passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from router.record import record
from server.config.settings.breaker_rules import BreakerRules

_BUCKETS = 6
# The probes of several gateways are spread by up to a fifth beyond the time in the rules.
_LATEST: Final = 1.2


class BreakerState(Enum):
    """The state of a breaker. CLOSED: requests are sent and counted; too many failures open it.
    OPEN: nothing is sent; each failed probe doubles the time. HALF_OPEN: one request at a time is
    sent as a probe; its success closes the breaker, its failure opens it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@record(frozen=True, slots=True)
class Permit:
    """A request that was allowed. era: the breaker's era at that time; later eras ignore it."""

    era: int
    probe: bool


_OF_NO_ERA: Final = Permit(-1, probe=False)


class Breaker:
    """There is one breaker for each model and for each provider. chance: returns a uniform number
    in [0, 1), which spreads the probes of several gateways."""

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
        """Applies new rules. An open breaker stays open, but no longer than they allow."""
        if rules.window_s != self._rules.window_s:
            self._window = _Window(rules.window_s)
        self._open_until = min(self._open_until, now + _LATEST * rules.max_open_s)
        self._rules = rules

    def state(self, now: float) -> BreakerState:
        """The current state. An open breaker whose time has passed is half open."""
        if self._state is BreakerState.OPEN and now >= self._open_until:
            return BreakerState.HALF_OPEN
        return self._state

    @property
    def is_closed(self) -> bool:
        """Whether requests are sent; only a failure can change that."""
        return self._state is BreakerState.CLOSED

    def wait_s(self, now: float) -> float:
        """The seconds for which nothing may be sent; 0 where a request may be sent now."""
        if self._state is BreakerState.CLOSED:
            return 0.0
        state = self.state(now)
        if state is BreakerState.OPEN:
            return self._open_until - now
        if state is BreakerState.HALF_OPEN and self._probing:
            return self._rules.open_s
        return 0.0

    def begin(self, now: float) -> Permit:
        """Records that a request is sent. One that is sent during another's probe is not
        counted."""
        if self._state is BreakerState.CLOSED:
            return self._permit
        if self.state(now) is BreakerState.HALF_OPEN and not self._probing:
            self._probing = True
            return Permit(self._era, probe=True)
        return _OF_NO_ERA

    def succeed(self, permit: Permit, now: float) -> None:
        """Records that the request was answered."""
        if permit.era != self._era:
            return
        if permit.probe:
            self._close()
        self._in_a_row = 0
        self._window.add(now, failed=False)

    def fail(self, permit: Permit, now: float) -> None:
        """Records that the request failed for a reason that is not the caller's."""
        if permit.era != self._era:
            return
        self._in_a_row += 1
        self._window.add(now, failed=True)
        if permit.probe or self._is_too_much(now):
            self._open(now)

    def abandon(self, permit: Permit) -> None:
        """Records that nobody waited for the outcome: it is not counted."""
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
        bucket = self._buckets[-1] if self._buckets else None
        if bucket is None or bucket[0] != number:
            bucket = [number, 0, 0]
            self._buckets.append(bucket)
        bucket[1] += 1
        bucket[2] += failed

    def totals(self, now: float) -> tuple[int, int]:
        """Returns (requests, failures)."""
        oldest = int(now // self._bucket_s) - _BUCKETS
        recent = [bucket for bucket in self._buckets if bucket[0] > oldest]
        return sum(bucket[1] for bucket in recent), sum(bucket[2] for bucket in recent)
