"""Decides which alerts are due. The module is pure."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from server.ledger.window import WindowSpec, from_nano

# A window is told of again once its spending has fallen below this share of the level.
_REARMED: Final = 0.9
# From this share on, a refused request shows that the budget is used up: what is left is too little
# for the cheapest model. Below it, the request is just a large one.
_NEARLY: Final = 0.8
_FULL: Final = 100
# The number of windows and sessions whose state is known in memory.
_MOST: Final = 50_000


@dataclass(frozen=True, slots=True)
class Alert:
    """A share of a budget that has been reached. percent: the share. spent: nanodollars. refused:
    what is left was too little for a request. period: the number of the window's length since 1970;
    0 for a budget without one."""

    spec: WindowSpec
    percent: int
    spent: int
    refused: bool
    period: int

    @property
    def id(self) -> str:
        """The same wherever and whenever this share of this budget is reached in this period."""
        name = f"{self.spec.name}:{self.spec.amount_nano}:{self.percent}:{self.period}"
        return "alert_" + hashlib.sha256(name.encode()).hexdigest()[:32]

    def to_json(self, created_s: int) -> dict[str, Any]:
        """The alert as it is posted. Amounts are exact decimals in text."""
        spec = self.spec
        scope = "key" if spec.key_name is not None else "gateway"
        return {
            "id": self.id,
            "type": "budget.reached",
            "created": created_s,
            "scope": scope if spec.session is None else "session",
            "key": spec.key_name,
            "session": spec.session,
            "window_s": spec.window_s,
            "percent": self.percent,
            "amount_usd": f"{spec.amount_usd.normalize():f}",
            "spent_usd": f"{from_nano(self.spent).normalize():f}",
            "refused": self.refused,
        }


class Reached:
    """What was told of each window: the highest percentage since its spending was last low."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, int] = OrderedDict()

    def knows(self, spec: WindowSpec) -> bool:
        """Whether it is known what was told of the window."""
        return spec.name in self._told

    def told(self, spec: WindowSpec, percent: int) -> None:
        """Remembers what was told of a window; 0 for nothing."""
        self._told[spec.name] = percent
        self._told.move_to_end(spec.name)
        if len(self._told) > _MOST:
            self._told.popitem(last=False)

    def forget(self, spec: WindowSpec, percent: int) -> None:
        """Takes back what was told of a window last, where it is still this percentage: the next
        settlement tells of it again."""
        if self._told.get(spec.name) == percent:
            self.told(spec, 0)

    def due(
        self,
        spec: WindowSpec,
        spent: int,
        least: int | None,
        levels: Sequence[int],
        now_s: float,
    ) -> Alert | None:
        """The alert that is due, at the highest level that is reached; None where there is none.

        spent: nanodollars settled in the window. least: the nanodollars that a refused request
        needed at least, None where none was refused. levels: percentages in rising order.
        """
        if spec.amount_nano <= 0:
            return None
        share = Decimal(spent) / spec.amount_nano
        left = spec.amount_nano - spent
        refused = least is not None and left < least and share >= Decimal(str(_NEARLY))
        before = self._told.get(spec.name, 0)
        if before > 0 and share < Decimal(str(_REARMED)) * before / 100:
            before = max((one for one in levels if share * 100 >= one), default=0)
            self.told(spec, before)
        reached = [one for one in levels if share * 100 >= one or (refused and one == _FULL)]
        if not reached or reached[-1] <= before:
            return None
        self.told(spec, reached[-1])
        period = 0 if spec.window_s is None else int(now_s // spec.window_s)
        return Alert(spec, reached[-1], spent, refused, period)
