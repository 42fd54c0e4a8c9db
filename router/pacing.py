"""The shadow price of a window budget, adapted online: primal-dual pacing.

docs/theory.md, section 5.

A window budget is Theorem 1's program over the stream of prompts. Its dual is one number, the
shadow price: route each prompt to argmax of win rate - shadow_price * cost. The price moves by
mirror descent on the dual with the entropy map (Balseiro, Lu and Mirrokni, "The best of many
worlds: dual mirror descent for online allocation problems", 2023): its logarithm rises with money
spent ahead of the plan and falls with money left behind it. The plan needs no forecast and no
horizon: an empty window fills at amount_usd / window_s and is full after window_s; from then on
what falls out of it is spent again, and room left by a lull is refilled over a window's time, so
that a burst after it does not leave a hole one window later. A second, integral term takes away
the constant lag that the first alone would leave.

Pure: time and spend come in as arguments, in any unit of time as long as it is one. How a store
uses it, for each window (global, or one per key):

    plan = PacingPlan(amount_usd=100.0, window_s=86400.0)
    state = PacingState.from_dict(stored) if stored else start(now_s)
    state = step(plan, state, now_s, spent_usd)     # spent_usd: settled in the last window_s
    store(state.to_dict())                          # a flat dict of floats
    usd_per_win = combined_usd_per_win(configured, [state, of_the_keys_window])
    # -> RoutingRequest.usd_per_win; what is left of the window -> RoutingRequest.available_usd

Concurrency: a step reads the window's own spend, it is not told an increment. So no update is
lost and none counts twice: states written by several gateways may overwrite each other (the last
writer wins) and each is consistent in itself; a stale price is late, never wrong. No lock is
needed. A clock behind the state's moves no plan. Step once per settled request or per decision, or
less often: a step covers all that happened since the one before. The window's spend should fall
out of it smoothly: exactly, or in slices of a thousandth of it or so, not in sixty lumps.

The price only steers. What keeps a budget is the hard stop, in exact decimals: reserve the worst
case before sending where `fits` says so, settle what it cost, refuse (budget_exhausted) otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Final, Self

from router.record import record

# log price per share of the budget ahead of plan is 1 / sqrt(the share one request takes): the step
# that balances the noise of single requests against the speed of learning; kept in these limits.
_MIN_GAIN: Final = 4.0
_MAX_GAIN: Final = 150.0
# The integral's time is this many windows over the gain: heavily damped, no ringing.
_DAMPING: Final = 5.0
# After a lull at most this much of the log price is given back at once: what was not spent is
# spread over the time to come instead.
_CREDIT: Final = 1.5
# An idle stretch longer than this many requests teaches the price nothing more.
_IDLE: Final = 10.0
# The plan stays this many times the noise of a full window below its top, and at least LEAST_ROOM.
_ROOM: Final = 1.5
_LEAST_ROOM: Final = 0.002
# Prices times the budget: from "a win is worth a hundred budgets" to "a billionth of one".
_MIN_LOG: Final = math.log(1e-2)
_MAX_LOG: Final = math.log(1e9)
_START_LOG: Final = math.log(1e2)
# The share of the budget whose spending halves the memory of what a request takes.
_MEMORY: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class PacingPlan:
    """amount_usd may be spent in any window_s. Raises ValueError for what is not above 0."""

    amount_usd: float
    window_s: float

    def __post_init__(self) -> None:
        for name in ("amount_usd", "window_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and above 0, got {value}")


@record(frozen=True, slots=True, kw_only=True)
class PacingState:
    """Where a window stands. Times in seconds, shares of the budget.

    began_s: when the window was last empty. at_s: the last step. log_price: ln of win rate per
    USD times the budget. planned: the share that the plan has in the window by now; ahead: the
    share spent beyond it (negative: behind). lump: the mean share that one settled request
    takes, weighted by size.
    """

    began_s: float
    at_s: float
    log_price: float
    planned: float = 0.0
    ahead: float = 0.0
    lump: float = 0.0

    def to_dict(self) -> dict[str, float]:
        """Flat, for a Redis hash or a row of SQL."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, float | str]) -> Self:
        """The inverse, also of values that a store gave back as text. Raises ValueError."""
        try:
            state = cls(**{field.name: float(stored[field.name]) for field in fields(cls)})
        except KeyError as error:
            raise ValueError(f"a pacing state lacks {error.args[0]}") from None
        if not all(math.isfinite(value) for value in asdict(state).values()):
            raise ValueError("a pacing state must be finite")
        return state


def start(now_s: float) -> PacingState:
    """A window that begins now, at a low price: the first requests teach it."""
    return PacingState(began_s=now_s, at_s=now_s, log_price=_START_LOG)


def step(plan: PacingPlan, state: PacingState, now_s: float, spent_usd: float) -> PacingState:
    """The state after time has passed and money was settled.

    spent_usd: settled within the rolling window that ends now, not since the last step.
    """
    spent = spent_usd / plan.amount_usd
    passed = max(0.0, now_s - state.at_s) / plan.window_s
    lump = _lump(state, max(0.0, spent - state.planned - state.ahead))
    gain = _clip(1.0 / math.sqrt(max(lump, 1e-12)), _MIN_GAIN, _MAX_GAIN)
    began_s = max(now_s, state.began_s) if spent <= 0 else state.began_s
    full = fill(lump)
    if now_s < began_s + plan.window_s:
        grown = state.planned + passed
    else:
        grown = state.planned + (full - state.planned) * -math.expm1(-passed)
    planned = min(full, grown, spent + _CREDIT / gain)
    ahead = spent - planned
    integral = ahead * min(passed, _IDLE * lump) * gain / _DAMPING
    move = gain * (ahead - state.ahead + integral)
    return PacingState(
        began_s=began_s,
        at_s=max(now_s, state.at_s),
        log_price=_clip(state.log_price + move, _MIN_LOG, _MAX_LOG),
        planned=planned,
        ahead=ahead,
        lump=lump,
    )


def fill(lump: float) -> float:
    """The share of the budget that a full window should hold: all but its own noise, whose
    standard deviation under this control is about lump / sqrt(gain)."""
    return 1.0 - _clip(_ROOM * lump**0.75, _LEAST_ROOM, 0.1)


def shadow_price(plan: PacingPlan, state: PacingState) -> float:
    """Win rate per USD: what a dollar of this window would earn elsewhere in the stream."""
    return math.exp(state.log_price) / plan.amount_usd


def allowed_usd(plan: PacingPlan, state: PacingState) -> float:
    """What the plan would have in the window by the last step, in USD (for dashboards)."""
    return state.planned * plan.amount_usd


def combined_usd_per_win(configured: Decimal | None, prices: Iterable[float]) -> Decimal | None:
    """What a certain win is worth under all windows together; None: cost does not count.

    Duals of several budgets add up, and a configured usd_per_win is one more price, its inverse.
    configured: USD, None where nothing is configured. prices: win rate per USD, of each window.
    """
    price = sum(prices)
    if price <= 0:
        return configured
    if configured is None:
        return Decimal(repr(1.0 / price))
    if configured == 0:
        return configured
    return Decimal(repr(1.0 / (price + 1.0 / float(configured))))


def _lump(state: PacingState, settled: float) -> float:
    """Weighted by size: one dear request among many cheap ones is what shakes the price."""
    if settled <= 0:
        return state.lump
    weight = settled / (settled + _MEMORY)
    return state.lump + weight * (settled - state.lump)


def _clip(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))
