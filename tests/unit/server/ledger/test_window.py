"""A window never gives more than its amount in any span of its length."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from server.ledger.window import SLICES, Wanted, Window, WindowSpec

SPEC = WindowSpec(None, 1_000, 10)
S = 1_000_000


def test_what_was_spent_falls_out_after_the_window() -> None:
    window = Window(SPEC.slice_us)
    window.hold("a", 700)
    assert window.available(1_000, 0) == 300
    window.settle("a", 400, 0)
    assert window.available(1_000, 5 * S) == 600
    assert window.available(1_000, 10 * S) == 600
    assert window.available(1_000, 10 * S + 2 * SPEC.slice_us) == 1_000


def test_retry_after_is_when_enough_has_fallen_out() -> None:
    window = Window(SPEC.slice_us)
    for second in range(4):
        window.settle(str(second), 250, second * S)
    wait = window.retry_after_s(1_000, 300, 4 * S)
    assert 7 <= wait <= 7.02
    now = 4 * S + int(wait * S)
    assert window.available(1_000, now - 2 * SPEC.slice_us) < 300
    assert window.available(1_000, now) >= 300


def test_only_time_or_settlements_free_a_reservation() -> None:
    window = Window(SPEC.slice_us)
    window.hold("a", 1_000)
    assert window.retry_after_s(1_000, 300, 0) == 1.0
    assert window.retry_after_s(200, 300, 0) > 3600


def test_a_budget_without_a_window_is_for_ever() -> None:
    spec = WindowSpec("team", 1_000, None)
    window = Window(spec.slice_us)
    window.settle("a", 900, 0)
    assert window.available(1_000, 10**15) == 100
    assert window.retry_after_s(1_000, 300, 10**15) > 3600


def test_one_request_without_a_cap_does_not_take_all() -> None:
    wanted = Wanted(least=10, comfort=50, most=5_000)
    assert wanted.granted(1_000) == 125
    assert wanted.granted(100) == 50
    assert wanted.granted(20) == 20
    assert wanted.granted(9) is None
    assert wanted.granted(100_000) == 5_000


def test_a_clock_that_is_set_back_holds_up_no_budget() -> None:
    """What was spent stays for the length of the window, and not until the time is what it was."""
    window, hours = Window(SPEC.slice_us), 3 * 3600 * S
    window.settle("a", 400, hours)
    window.settle("b", 300, hours + S)
    assert window.available(1_000, 0) == 300
    window.settle("c", 100, S)
    assert window.available(1_000, 10 * S) == 200
    assert window.retry_after_s(1_000, 900, 10 * S) <= 10
    assert window.available(1_000, 10 * S + 2 * SPEC.slice_us) == 900
    assert window.available(1_000, 11 * S + 2 * SPEC.slice_us) == 1_000


@settings(max_examples=examples(200), deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400))
def test_no_span_of_the_window_ever_holds_more_than_the_amount(seed: int, worst: int) -> None:
    rng = random.Random(seed)
    window, now = Window(SPEC.slice_us), 0
    under_way: dict[str, int] = {}
    settled: list[tuple[int, int]] = []
    for n in range(300):
        now += rng.randrange(0, S)
        if under_way and rng.random() < 0.5:
            name = rng.choice(list(under_way))
            cost = rng.randint(0, under_way.pop(name))
            window.settle(name, cost, now)
            settled.append((now, cost))
        least = rng.randint(1, worst)
        wanted = Wanted(least, least, worst)
        granted = wanted.granted(window.available(1_000, now))
        if granted is not None:
            window.hold(str(n), granted)
            under_way[str(n)] = granted
    assert window.reserved == sum(under_way.values())
    for end, _ in settled:
        inside = sum(cost for at, cost in settled if end - 10 * S < at <= end)
        assert inside <= 1_000


def test_loaded_spend_is_as_if_it_had_been_settled_here() -> None:
    window, again = Window(SPEC.slice_us), Window(SPEC.slice_us)
    slices: dict[int, int] = {}
    for n in range(200):
        at = n * S // 10
        window.settle(str(n), n, at)
        slices[at // SPEC.slice_us] = slices.get(at // SPEC.slice_us, 0) + n
    again.load(sorted(slices.items()))
    for later in range(20, 40):
        assert again.available(10**6, later * S) == window.available(10**6, later * S)
    assert SLICES == 1_000
