"""What a rule of routing made of recorded jobs: money, wins, changes of model, caches."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from router.cost import Usage
from server.offline.jobs.turns import Place, Turn

_MOST: Final = 50_000


@dataclass(slots=True)
class Tally:
    """Sums over the requests. refused: requests for which no model fitted the rule. scored: those
    whose prompt would have been scored. prefix_tokens: those of the inputs that the conversation
    had sent before; prefix_read: those of them that a cache held. changes: of model within a
    conversation; loop_changes: those of them within a tool loop. asked_by_name: requests that no
    rule decides, which are not among the others; their cost is. dearest_job_usd: the cost of the
    most expensive session, without requests that no rule decides."""

    requests: int = 0
    refused: int = 0
    scored: int = 0
    cost_usd: Decimal = Decimal(0)
    wins: float = 0.0
    prefix_tokens: int = 0
    prefix_read: int = 0
    changes: int = 0
    loop_changes: int = 0
    asked_by_name: int = 0
    dearest_job_usd: Decimal = Decimal(0)
    _jobs: OrderedDict[str, Decimal] = field(default_factory=OrderedDict)
    _last: OrderedDict[Place, str] = field(default_factory=OrderedDict)

    def answered(
        self, turn: Turn, model: str, usage: Usage, cost_usd: Decimal, rate: float
    ) -> None:
        """Adds an answered request. rate: the model's predicted win rate."""
        self.requests += 1
        self.cost_usd += cost_usd
        self.wins += rate
        self.prefix_tokens += turn.prefix_tokens
        self.prefix_read += usage.cached_tokens
        self._spend(turn.line.session, cost_usd)
        before = self._last.get(turn.place)
        if before is not None and before != model:
            self.changes += 1
            self.loop_changes += turn.line.tool_loop
        self._last[turn.place] = model
        self._last.move_to_end(turn.place)
        if len(self._last) > _MOST:
            self._last.popitem(last=False)

    def spent_usd(self, turn: Turn) -> Decimal:
        """What the turn's session has cost so far."""
        return self._jobs.get(turn.line.session, Decimal(0))

    def _spend(self, session: str, cost_usd: Decimal) -> None:
        spent_usd = self._jobs.get(session, Decimal(0)) + cost_usd
        self._jobs[session] = spent_usd
        self._jobs.move_to_end(session)
        if len(self._jobs) > _MOST:
            self._jobs.popitem(last=False)
        self.dearest_job_usd = max(self.dearest_job_usd, spent_usd)

    def by_name(self, cost_usd: Decimal | None) -> None:
        """Adds a request that no rule decides, at its recorded cost."""
        self.asked_by_name += 1
        self.cost_usd += cost_usd or Decimal(0)

    @property
    def win_rate(self) -> float | None:
        """The mean predicted win rate of the answered requests; None where there are none."""
        return self.wins / self.requests if self.requests > 0 else None

    @property
    def request_usd(self) -> Decimal:
        """The mean cost of an answered request in USD."""
        return self.cost_usd / max(1, self.requests + self.asked_by_name)

    def to_json(self, n_jobs: int, usd_per_win: Decimal | None) -> dict[str, Any]:
        """The figures. n_jobs: the number of sessions. usd_per_win: what a certain win is worth;
        `net_usd` is the worth of a request less its cost."""
        asked = self.requests + self.refused
        net = None
        if usd_per_win is not None and self.win_rate is not None:
            net = self.win_rate * float(usd_per_win) - float(self.request_usd)
        return {
            "requests": self.requests,
            "refused": self.refused,
            "asked_by_name": self.asked_by_name,
            "cost_usd": float(self.cost_usd),
            "job_cost_usd": float(self.cost_usd / max(1, n_jobs)),
            "dearest_job_usd": float(self.dearest_job_usd),
            "win_rate": self.win_rate,
            "net_usd": net,
            "changes": self.changes,
            "tool_loop_changes": self.loop_changes,
            "prefix_read": _share(self.prefix_read, self.prefix_tokens),
            "scored": _share(self.scored, asked),
        }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None
