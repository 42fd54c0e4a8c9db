"""The shadow price over a stream: money is spent, on time, where it buys the most, never more."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.pacing import (
    PacingPlan,
    PacingState,
    allowed_usd,
    combined_usd_per_win,
    shadow_price,
    start,
    step,
)

WINDOW_S = 1000.0


@dataclass
class Stream:
    """Prompts with a price each: costs and values (N, M), times (N,)."""

    costs: np.ndarray
    values: np.ndarray
    times: np.ndarray

    @classmethod
    def random(cls, seed: int, n: int, windows: float = 1.0, n_models: int = 5) -> Stream:
        chance = np.random.default_rng(seed)
        prices = np.sort(10 ** chance.uniform(-4, -2, n_models))
        sizes = np.exp(0.7 * chance.normal(size=(n, 1)))
        gaps = np.linspace(-1, 1, n_models) + chance.normal(size=(n, n_models))
        times = np.sort(chance.uniform(0, windows * WINDOW_S, n))
        return cls(prices * sizes, 1 / (1 + np.exp(-gaps)), times)

    def pick(self, index: int, price: float) -> int:
        return int(np.argmax(self.values[index] - price * self.costs[index]))

    def spend_at(self, price: float) -> float:
        picks = np.argmax(self.values - price * self.costs, axis=1)
        return float(self.costs[np.arange(len(picks)), picks].sum())

    def value_at(self, price: float) -> float:
        picks = np.argmax(self.values - price * self.costs, axis=1)
        return float(self.values[np.arange(len(picks)), picks].sum())

    def clairvoyant(self, budget: float) -> float:
        """The dual of the whole stream's program, by bisection."""
        low, high = 0.0, 1e7
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if self.spend_at(middle) > budget else (low, middle)
        return high


@dataclass
class Run:
    spent: float
    value: float
    peak: float
    prices: list[float]
    refused: int


def play(stream: Stream, plan: PacingPlan, gateways: int = 1, forget: bool = False) -> Run:
    """Each request steps, decides, and is settled. gateways > 1: each writes over the others with
    a state that it read one request ago. forget: the state goes through its dict each time."""
    held: deque[tuple[float, float]] = deque()
    inside = spent = value = peak = 0.0
    state, stale, prices, refused = start(0.0), start(0.0), [], 0
    for index, now in enumerate(stream.times.tolist()):
        while held and held[0][0] <= now - plan.window_s:
            inside -= held.popleft()[1]
        read = stale if index % gateways else state
        stale, state = state, step(plan, read, now, inside)
        if forget:
            state = PacingState.from_dict({k: repr(v) for k, v in state.to_dict().items()})
        prices.append(shadow_price(plan, state))
        pick = stream.pick(index, prices[-1])
        cost = float(stream.costs[index, pick])
        if inside + cost > plan.amount_usd:
            refused += 1
            continue
        held.append((now, cost))
        inside, spent = inside + cost, spent + cost
        value += float(stream.values[index, pick])
        peak = max(peak, inside)
    return Run(spent, value, peak, prices, refused)


def binding(stream: Stream, share: float, windows: float = 1.0) -> PacingPlan:
    least, most = float(stream.costs.min(axis=1).sum()), stream.spend_at(0.0)
    amount = (least + share * (most - least)) / windows
    return PacingPlan(amount_usd=amount, window_s=WINDOW_S)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_binding_budget_is_spent_and_spent_well(share: float) -> None:
    stream = Stream.random(1, 5000)
    plan = binding(stream, share)
    run = play(stream, plan)
    assert 0.99 <= run.spent / plan.amount_usd <= 1.0
    assert run.refused < 0.005 * len(stream.times)
    best = stream.clairvoyant(plan.amount_usd)
    cheapest = stream.value_at(1e9)
    gain = (run.value - cheapest) / (stream.value_at(best) - cheapest)
    assert gain > 0.97
    late = np.array(run.prices[1000:])
    assert float(np.median(late)) == pytest.approx(best, rel=0.25)


def test_a_rolling_window_is_never_overspent_and_stays_full() -> None:
    stream = Stream.random(2, 6000, windows=4.0)
    plan = binding(stream, 0.3, windows=4.0)
    run = play(stream, plan)
    assert run.peak <= plan.amount_usd
    assert run.spent > 0.97 * 4 * plan.amount_usd


def test_money_that_does_not_bind_does_not_count() -> None:
    stream = Stream.random(3, 2000)
    plan = binding(stream, 2.0)
    run = play(stream, plan)
    assert run.spent > 0.97 * stream.spend_at(0.0)
    assert run.refused == 0


@pytest.mark.slow
def test_stale_states_of_several_gateways_and_a_restart_do_no_harm() -> None:
    stream = Stream.random(4, 5000)
    plan = binding(stream, 0.3)
    alone = play(stream, plan)
    several = play(stream, plan, gateways=3)
    assert several.peak <= plan.amount_usd
    assert several.spent == pytest.approx(alone.spent, rel=0.01)
    assert several.value == pytest.approx(alone.value, rel=0.01)
    assert play(stream, plan, forget=True) == alone


def test_after_a_lull_the_budget_is_not_burnt_at_once() -> None:
    stream = Stream.random(5, 4000, windows=2.0)
    # nothing for half a window, then on as before
    stream.times[2000:] += 0.5 * WINDOW_S
    plan = binding(stream, 0.3, windows=2.0)
    run = play(stream, plan)
    before = float(np.median(run.prices[1500:2000]))
    after = float(np.median(run.prices[2050:2300]))
    assert after > 0.1 * before
    assert run.refused < 0.02 * len(stream.times)


@given(
    st.lists(st.tuples(st.floats(-1, 100), st.floats(0, 20)), max_size=30),
    st.floats(1e-3, 1e3),
)
def test_a_state_stays_finite_and_its_price_between_limits(
    events: list[tuple[float, float]], amount: float
) -> None:
    plan, state, now = PacingPlan(amount_usd=amount, window_s=10.0), start(0.0), 0.0
    for passed, spent in events:
        now += passed  # a clock may go back
        state = step(plan, state, now, spent * amount)
        assert all(math.isfinite(v) for v in state.to_dict().values())
        assert 0 < shadow_price(plan, state) <= 1.01e9 / amount
        assert 0 <= allowed_usd(plan, state) <= amount
        assert PacingState.from_dict(state.to_dict()) == state


def test_prices_add_up() -> None:
    assert combined_usd_per_win(None, []) is None
    assert combined_usd_per_win(Decimal("0.5"), []) == Decimal("0.5")
    assert combined_usd_per_win(None, [4.0]) == Decimal("0.25")
    assert combined_usd_per_win(Decimal("0.5"), [1.0, 1.0]) == Decimal("0.25")
    assert combined_usd_per_win(Decimal(0), [1.0]) == 0


def bad_states() -> Iterator[dict[str, float | str]]:
    good = start(0.0).to_dict()
    yield {name: value for name, value in good.items() if name != "planned"}
    yield {**good, "log_price": "nan"}
    yield {**good, "at_s": "yesterday"}


@pytest.mark.parametrize("stored", list(bad_states()))
def test_a_broken_state_is_an_error(stored: dict[str, float | str]) -> None:
    with pytest.raises(ValueError, match=r"state|float"):
        PacingState.from_dict(stored)


@pytest.mark.parametrize("values", [(0.0, 1.0), (1.0, 0.0), (math.inf, 1.0), (math.nan, 1.0)])
def test_a_plan_needs_money_and_time(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        PacingPlan(amount_usd=values[0], window_s=values[1])


def test_a_clock_that_is_set_back_changes_no_price() -> None:
    """Time would stand still until it is what it was, and the plan with it: all that is spent until
    then would look like too much."""
    plan = PacingPlan(amount_usd=10, window_s=3600)
    true, wrong = start(0.0), start(0.0)
    for n in range(1, 200):
        now_s, spent_usd = 30.0 * n, min(n, 120) * 10 / 120
        true = step(plan, true, now_s, spent_usd)
        # by some hours, from the middle on; no time passes in the step at which that is seen
        at_s = now_s if n < 100 else now_s - 5 * 3600
        wrong = step(plan, wrong, at_s, spent_usd)
        assert abs(wrong.log_price - true.log_price) < 0.5
    assert abs(wrong.planned - true.planned) < 0.02
