"""A rolling window of spend: it reserves the worst case and settles the actual cost. Pure: the time
is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from math import ceil, floor
from typing import Final

from router.pacing import PacingPlan
from router.record import record

# Money leaves a window in this many slices: at most a thousandth of the window's length too late.
SLICES: Final = 1_000
# An answer without an output cap of its own may reserve one part in this many of what is left, so
# that one request does not block all others.
SHARE: Final = 8
_NANO: Final = Decimal(10**9)
# The wait in seconds where only requests in progress stand in the way, and for a budget without an
# end.
SOON_S: Final = 1.0
NEVER_S: Final = 86_400.0


@dataclass(frozen=True)
class WindowSpec:
    """A limit of amount_nano nanodollars in any window_s seconds; window_s None: in total.

    name: the name under which spend is counted. It does not depend on the amount, so that a changed
    amount keeps what was spent. key_name: the key whose spend counts; None: all keys.
    session: a session of the key; only its spend counts.
    """

    key_name: str | None
    amount_nano: int
    window_s: int | None
    session: str | None = None

    @cached_property
    def name(self) -> str:
        if self.session is not None:
            return f"session:{self.session}"
        whose = "global" if self.key_name is None else f"key:{self.key_name}"
        return f"{whose}:{'total' if self.window_s is None else self.window_s}"

    @property
    def shown(self) -> str:
        """The window as the caller may see it, without the names of other keys."""
        if self.session is not None:
            return "this session"
        whose = "this gateway" if self.key_name is None else "this key"
        return whose if self.window_s is None else f"{whose} for {self.window_s} s"

    @property
    def amount_usd(self) -> Decimal:
        return from_nano(self.amount_nano)

    @cached_property
    def pacing(self) -> PacingPlan | None:
        """The plan for spreading the budget; None for one without a window, or of zero."""
        if self.window_s is None or self.amount_nano <= 0:
            return None
        return PacingPlan(amount_usd=self.amount_nano / 1e9, window_s=float(self.window_s))

    @property
    def slice_us(self) -> int:
        """The length of a slice in microseconds; 0 where there is only one slice."""
        return 0 if self.window_s is None else max(1, self.window_s * 1_000_000 // SLICES)


@record(frozen=True, slots=True)
class Wanted:
    """What a request asks of its windows, in nanodollars.

    least: below it nothing is granted. comfort: granted before the rest is shared. most: its worst
    case. least and most are equal where the caller set the output cap.
    """

    least: int
    comfort: int
    most: int

    def granted(self, available: int) -> int | None:
        """How much is granted of the amount available; None: the request does not fit."""
        if available < self.least:
            return None
        return min(self.most, available, max(self.comfort, available // SHARE))


@dataclass(frozen=True, slots=True)
class Balance:
    """What has been settled in a window and what is reserved in it, in nanodollars."""

    spent: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Short:
    """A reservation that does not fit. available: nanodollars left in the window with the least
    left."""

    spec: WindowSpec
    available: int
    retry_after_s: float


class Window:
    """One window's spend and reservations, in nanodollars.

    In any window_s no more is spent than the amount, provided that every settlement is within its
    reservation: a settled cost counts from its settlement on, a reservation counts until then.
    """

    def __init__(self, slice_us: int) -> None:
        self._slice_us = slice_us
        self._slices: deque[list[int]] = deque()
        self._holds: dict[str, int] = {}
        self.spent = 0
        self.reserved = 0

    def load(self, slices: Iterable[tuple[int, int]]) -> None:
        """Loads earlier spend: (number of the slice, nanodollars), in order."""
        for index, amount in slices:
            self._slices.append([index, amount])
            self.spent += amount

    def available(self, amount: int, now_us: int) -> int:
        """What is neither spent nor reserved; it may be negative after the amount was lowered."""
        self._roll(now_us)
        return amount - self.spent - self.reserved

    def hold(self, name: str, amount: int) -> None:
        """Reserves an amount. A second reservation under the same name replaces the first."""
        self.reserved += amount - self._holds.get(name, 0)
        self._holds[name] = amount

    def settle(self, name: str, cost: int, now_us: int) -> None:
        """Releases the reservation and books the cost."""
        self.reserved -= self._holds.pop(name, 0)
        self._roll(now_us)
        index = self._index(now_us)
        if self._slices and self._slices[-1][0] >= index:
            self._slices[-1][1] += cost
        elif cost:
            self._slices.append([index, cost])
        self.spent += cost

    def retry_after_s(self, amount: int, needed: int, now_us: int) -> float:
        """Seconds until the needed amount will have left the window, if nothing else is settled."""
        missing = needed - self.available(amount, now_us)
        if needed > amount:
            return NEVER_S
        for index, spent in self._slices:
            missing -= spent
            if missing <= 0:
                return self._wait_s(index, now_us)
        return SOON_S

    def _wait_s(self, index: int, now_us: int) -> float:
        if self._slice_us == 0:
            return NEVER_S
        return max(0.0, (index + 1 + SLICES) * self._slice_us - now_us) / 1e6

    def _index(self, now_us: int) -> int:
        return 0 if self._slice_us == 0 else now_us // self._slice_us

    def _roll(self, now_us: int) -> None:
        if self._slice_us == 0:
            return
        index = self._index(now_us)
        if self._slices and self._slices[-1][0] > index + 1:
            self._call_back(index)
        gone = index - SLICES - 1
        while self._slices and self._slices[0][0] <= gone:
            self.spent -= self._slices.popleft()[1]

    def _call_back(self, index: int) -> None:
        """Moves what was spent in the future to now: the clock was set back, and what is spent
        would otherwise stay until the time is what it was."""
        ahead = 0
        while self._slices and self._slices[-1][0] > index:
            ahead += self._slices.pop()[1]
        if self._slices and self._slices[-1][0] == index:
            self._slices[-1][1] += ahead
        else:
            self._slices.append([index, ahead])


def to_nano(amount_usd: Decimal) -> int:
    """USD as whole nanodollars, rounded up: a cost is never counted too low."""
    return ceil(amount_usd * _NANO)


def limit_nano(amount_usd: Decimal) -> int:
    """A budget in USD as whole nanodollars, rounded down."""
    return min(2**62, floor(amount_usd * _NANO))


def from_nano(amount: int) -> Decimal:
    """Nanodollars as USD, exactly."""
    return Decimal(amount).scaleb(-9)
