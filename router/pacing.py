"""The shadow price of a window's budget, adapted online: primal-dual pacing.

docs/theory.md, section 5, has the derivation.

A window's budget is Theorem 1's program over the stream of prompts. Its dual is one number, the
shadow price: each prompt goes to the argmax of win rate - shadow_price * cost. The price moves by
mirror descent on the dual with the entropy map (Balseiro, Lu and Mirrokni, "The best of many
worlds: dual mirror descent for online allocation problems", 2023): its logarithm rises while
spending is ahead of the plan and falls while it is behind. The plan needs no forecast and no
horizon: an empty window fills at the rate amount_usd / window_s and is full after window_s. From
then on, money is spent again as earlier spending leaves the window. What a lull left unspent is
spent over one window's time, so that a burst does not leave a gap one window later. A second,
integral term removes the constant lag that the first one alone would leave.

The module is pure: time and spending are arguments. A store uses it as follows, for each window
(the gateway's, or one per key):

    plan = PacingPlan(amount_usd=100.0, window_s=86400.0)
    state = PacingState.from_dict(stored) if stored else start(now_s)
    state = step(plan, state, now_s, spent_usd)     # spent_usd: settled in the last window_s
    store(state.to_dict())                          # a flat dict of floats
    usd_per_win = combined_usd_per_win(configured, [state, of_the_keys_window])
    # -> RoutingRequest.usd_per_win; what is left of the window -> RoutingRequest.available_usd

Concurrency: a step takes the window's total spending, not an increment. So no update is lost or
counted twice: several gateways may overwrite each other's states (the last writer wins), and each
state is consistent in itself; a stale price is late, never wrong. No lock is needed. A clock behind
the state's does not move the plan. Step once per settled request, once per decision, or less often:
a step covers everything since the previous one. Spending should leave the window smoothly: exactly,
or in slices of about a thousandth of the window, not in sixty steps.

The price only steers. The budget itself is kept by the hard stop, in exact decimals: reserve the
worst case before sending where `fits` says so, settle the actual cost, and refuse otherwise
(budget_exhausted).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Final, Self

from router.record import record

# The gain: log price per share of the budget ahead of plan. It is 1 / sqrt(the share that one
# request takes), which balances the noise of single requests against the speed of learning, within
# these limits.
_MIN_GAIN: Final = 4.0
_MAX_GAIN: Final = 150.0
# The integral's time is this many windows divided by the gain: heavily damped, so that it does not
# oscillate.
_DAMPING: Final = 5.0
# After a lull at most this much of the log price is given back at once; the unspent money is spread
# over the time to come instead.
_CREDIT: Final = 1.5
# An idle stretch longer than this many requests teaches the price nothing more.
_IDLE: Final = 10.0
# The plan stays this many times the noise of a full window below the full budget, and at least by
# LEAST_ROOM.
_ROOM: Final = 1.5
_LEAST_ROOM: Final = 0.002
# The range of price times budget: from "a win is worth a hundred budgets" to "a win is worth a
# billionth of one".
_MIN_LOG: Final = math.log(1e-2)
_MAX_LOG: Final = math.log(1e9)
_START_LOG: Final = math.log(1e2)
# Spending this share of the budget halves the memory of the share that one request takes.
_MEMORY: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class PacingPlan:
    """At most amount_usd may be spent in any period of window_s seconds. Raises ValueError for
    numbers that are not above 0."""

    amount_usd: float
    window_s: float

    def __post_init__(self) -> None:
        for name in ("amount_usd", "window_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and above 0, got {value}")


@record(frozen=True, slots=True, kw_only=True)
class PacingState:
    """The state of a window. Times are in seconds, amounts are shares of the budget.

    began_s: when the window was last empty. at_s: the time of the last step. log_price: the
    logarithm of the price (win rate per USD) times the budget. planned: the share that the plan
    would have spent by now; ahead: the share spent beyond the plan (negative: behind). lump: the
    mean share that one settled request takes, weighted by size.
    """

    began_s: float
    at_s: float
    log_price: float
    planned: float = 0.0
    ahead: float = 0.0
    lump: float = 0.0

    def to_dict(self) -> dict[str, float]:
        """A flat dictionary, for a Redis hash or a row of a table."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, float | str]) -> Self:
        """The inverse of `to_dict`; accepts numbers as text too. Raises ValueError."""
        try:
            state = cls(**{field.name: float(stored[field.name]) for field in fields(cls)})
        except KeyError as error:
            raise ValueError(f"a pacing state lacks {error.args[0]}") from None
        if not all(math.isfinite(value) for value in asdict(state).values()):
            raise ValueError("a pacing state must be finite")
        return state


def start(now_s: float) -> PacingState:
    """A window that begins now, at a low price that the first requests correct."""
    return PacingState(began_s=now_s, at_s=now_s, log_price=_START_LOG)


def step(plan: PacingPlan, state: PacingState, now_s: float, spent_usd: float) -> PacingState:
    """Returns the state after time has passed and money was settled.

    spent_usd: settled within the rolling window that ends now, not since the last step. A clock
    that was set back moves the window along with it: no time has passed.
    """
    set_back = min(0.0, now_s - state.at_s)
    began_s = state.began_s + set_back
    spent = spent_usd / plan.amount_usd
    passed = max(0.0, now_s - state.at_s) / plan.window_s
    lump = _lump(state, max(0.0, spent - state.planned - state.ahead))
    gain = _clip(1.0 / math.sqrt(max(lump, 1e-12)), _MIN_GAIN, _MAX_GAIN)
    began_s = max(now_s, began_s) if spent <= 0 else began_s
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
        at_s=now_s,
        log_price=_clip(state.log_price + move, _MIN_LOG, _MAX_LOG),
        planned=planned,
        ahead=ahead,
        lump=lump,
    )


def fill(lump: float) -> float:
    """The share of the budget that a full window should hold: all but its own noise, whose standard
    deviation under this control is about lump / sqrt(gain)."""
    return 1.0 - _clip(_ROOM * lump**0.75, _LEAST_ROOM, 0.1)


def shadow_price(plan: PacingPlan, state: PacingState) -> float:
    """The price in win rate per USD: what one dollar of this window would gain elsewhere in the
    stream."""
    return math.exp(state.log_price) / plan.amount_usd


def allowed_usd(plan: PacingPlan, state: PacingState) -> float:
    """What the plan would have spent in the window by the last step, in USD (for dashboards)."""
    return state.planned * plan.amount_usd


def combined_usd_per_win(configured: Decimal | None, prices: Iterable[float]) -> Decimal | None:
    """The value of a certain win in USD under all windows together; None: cost does not count.

    The dual prices of several budgets add up, and a configured usd_per_win is one more price, its
    inverse. configured: USD, None where nothing is configured. prices: win rate per USD of each
    window.
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
    """The mean is weighted by size, because one expensive request among many cheap ones is what
    makes the price noisy."""
    if settled <= 0:
        return state.lump
    weight = settled / (settled + _MEMORY)
    return state.lump + weight * (settled - state.lump)


def _clip(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))
