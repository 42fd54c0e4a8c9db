"""The breaker as a state machine: time comes in, nobody sleeps."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.config.settings.breaker_rules import BreakerRules
from server.health.breaker import Breaker, BreakerState

RULES = BreakerRules(consecutive_failures=3, min_requests=10, open_s=5.0, max_open_s=20.0)


def breaker(rules: BreakerRules = RULES) -> Breaker:
    return Breaker(rules, lambda: 0.5)  # the middle of the jitter: exactly open_s


def fail(it: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        it.fail(it.begin(now), now)


def succeed(it: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        it.succeed(it.begin(now), now)


def test_failures_in_a_row_open_it_and_one_success_between_does_not() -> None:
    it = breaker()
    fail(it, 0.0, 2)
    succeed(it, 0.0)
    fail(it, 0.0, 2)
    assert it.state(0.0) is BreakerState.CLOSED
    fail(it, 0.0)
    assert it.state(0.0) is BreakerState.OPEN
    assert it.wait_s(1.0) == pytest.approx(4.0)


def test_half_open_lets_one_probe_out_and_its_success_closes() -> None:
    it = breaker()
    fail(it, 0.0, 3)
    assert it.wait_s(5.0) == 0.0
    probe = it.begin(5.0)
    assert probe.probe
    assert it.wait_s(5.1) > 0.0, "others wait for the probe"
    it.succeed(probe, 5.2)
    assert it.state(5.2) is BreakerState.CLOSED
    fail(it, 5.3, 2)
    assert it.state(5.3) is BreakerState.CLOSED, "old failures are forgotten"


def test_each_failed_probe_doubles_the_wait_up_to_a_limit() -> None:
    it = breaker()
    fail(it, 0.0, 3)
    now, waits = 0.0, []
    for _ in range(4):
        waits.append(it.wait_s(now))
        now += it.wait_s(now)
        fail(it, now)
    assert waits == pytest.approx([5.0, 10.0, 20.0, 20.0])


def test_a_probe_nobody_waited_for_gives_its_place_back() -> None:
    it = breaker()
    fail(it, 0.0, 3)
    it.abandon(it.begin(5.0))
    assert it.wait_s(5.0) == 0.0
    assert it.begin(5.0).probe


def test_what_was_sent_before_it_opened_says_nothing_afterwards() -> None:
    it = breaker()
    early, late = it.begin(0.0), it.begin(0.0)
    fail(it, 0.0, 3)
    it.succeed(early, 1.0)
    assert it.state(1.0) is BreakerState.OPEN
    it.begin(5.0)
    it.fail(late, 5.5)
    assert it.state(5.5) is BreakerState.HALF_OPEN


def test_a_share_of_failures_opens_it_only_with_enough_requests() -> None:
    it = breaker()
    for _ in range(4):
        fail(it, 0.0)
        succeed(it, 0.0)
    assert it.state(0.0) is BreakerState.CLOSED
    fail(it, 0.0)
    succeed(it, 0.0)
    fail(it, 0.0)
    assert it.state(0.0) is BreakerState.OPEN


def test_old_outcomes_leave_the_window() -> None:
    it = breaker()
    for _ in range(4):
        fail(it, 0.0)
        succeed(it, 0.0)
    succeed(it, 100.0)
    fail(it, 100.0)
    assert it.state(100.0) is BreakerState.CLOSED


@given(st.lists(st.sampled_from(["fail", "succeed", "abandon", "wait"]), max_size=200))
def test_it_never_stays_shut(steps: list[str]) -> None:
    """Whatever happened, a request may go out within the longest wait."""
    chance = random.Random(1)
    it, now = Breaker(RULES, chance.random), 0.0
    for step in steps:
        now += chance.random() * (8.0 if step == "wait" else 0.1)
        if it.wait_s(now) > 0.0:
            continue
        permit = it.begin(now)
        if step == "fail":
            it.fail(permit, now)
        elif step == "succeed":
            it.succeed(permit, now)
        else:
            it.abandon(permit)
    assert it.wait_s(now) <= 1.2 * RULES.max_open_s
    assert it.wait_s(now + 1.2 * RULES.max_open_s) == 0.0
