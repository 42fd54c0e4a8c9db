"""Computes what routing saved against always asking the best model, from stored receipts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from server.ledger.attempt import usd
from server.storage.activity import Sent
from server.storage.rows import MICRO


@dataclass(slots=True)
class _Sums:
    requests: int = 0
    cost_usd: Decimal = Decimal(0)
    win_rate: float = 0.0

    def add(self, cost_usd: Decimal, win_rate: float) -> None:
        self.requests += 1
        self.cost_usd += cost_usd
        self.win_rate += win_rate


class _Compared(NamedTuple):
    """seen: (expected cost, win rate) by model."""

    seen: Mapping[str, tuple[Decimal, float]]
    chosen: str
    cost_usd: Decimal
    day: str


@dataclass(slots=True)
class _Study:
    spent_usd: Decimal = Decimal(0)
    # What each prompt's leaderboard and prices say about each model that could have answered it.
    models: defaultdict[str, _Sums] = field(default_factory=lambda: defaultdict(_Sums))
    compared: list[_Compared] = field(default_factory=list)


def savings(sent: Iterable[Sent]) -> dict[str, Any]:
    """The savings. The best model is the one with the highest mean win rate among those that could
    have answered most requests. Both sides are expected values for the same prompts, so that the
    chance length of an answer affects neither; the real cost is reported beside them."""
    study = _Study()
    for one in sent:
        _note(study, one)
    best = _best(study)
    pairs = [one for one in study.compared if best in one.seen]
    always, routed = _Sums(), _Sums()
    for pair in pairs:
        always.add(*pair.seen[best])
        routed.add(*pair.seen[pair.chosen])
    return {
        "object": "savings",
        "requests": len(pairs),
        "best_model": best or None,
        "always_best": _shown(always),
        "routed": _shown(routed),
        "saved_usd": float(always.cost_usd - routed.cost_usd),
        "saved_share": _share(always.cost_usd, routed.cost_usd),
        "spent_usd": float(study.spent_usd),
        "by_day": _by_day(pairs, best),
    }


def _by_day(pairs: list[_Compared], best: str) -> list[dict[str, Any]]:
    """The same by day (UTC), the earliest first."""
    days: dict[str, list[_Compared]] = {}
    for one in pairs:
        days.setdefault(one.day, []).append(one)
    return [
        {
            "day": day,
            "requests": len(found),
            "always_usd": float(sum(one.seen[best][0] for one in found)),
            "routed_usd": float(sum(one.seen[one.chosen][0] for one in found)),
            "spent_usd": float(sum(one.cost_usd for one in found)),
        }
        for day, found in sorted(days.items())
    ]


def _note(study: _Study, one: Sent) -> None:
    seen = _candidates(one.attempts[0])
    chosen = one.attempts[-1]["decision"]["model"]
    cost_usd = usd(one.cost_pico)
    study.spent_usd += cost_usd
    if chosen not in seen:  # its price or its win rate is unknown: there is nothing to compare
        return
    day = datetime.fromtimestamp(one.created_us / MICRO, UTC).date().isoformat()
    study.compared.append(_Compared(seen, chosen, cost_usd, day))
    for model, (cost_usd, win_rate) in seen.items():
        study.models[model].add(cost_usd, win_rate)


def _candidates(attempt: Mapping[str, Any]) -> dict[str, tuple[Decimal, float]]:
    """Maps each model to (expected cost, win rate), before any attempt failed. A model is excluded
    where it cannot do what the request asks for; a model beyond the budget is included."""
    rows = attempt["decision"]["alternatives"]
    return {
        row["model"]: (Decimal(row["expected_cost_usd"]), row["win_rate"])
        for row in rows
        if row["expected_cost_usd"] is not None and row["win_rate"] is not None and row["eligible"]
    }


def _best(study: _Study) -> str:
    """The best model; empty where nothing can be compared."""
    often = [
        (sums.win_rate / sums.requests, model)
        for model, sums in study.models.items()
        if 2 * sums.requests > len(study.compared)
    ]
    return max(often)[1] if often else ""


def _shown(sums: _Sums) -> dict[str, float | None]:
    mean = sums.win_rate / sums.requests if sums.requests else None
    return {"expected_cost_usd": float(sums.cost_usd), "mean_win_rate": mean}


def _share(always: Decimal, routed: Decimal) -> float | None:
    return float(1 - routed / always) if always > 0 else None
