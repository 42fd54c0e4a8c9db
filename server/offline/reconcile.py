"""Compares the ledger with a provider's own records, and corrects it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from router.catalog import ModelCard
from router.cost import Usage, actual_cost_usd
from server.ledger.attempt import pico, usd
from server.offline.usage_export import Exported
from server.storage.database import Database
from server.storage.rows import MICRO, micros
from server.storage.spend import (
    Adjustment,
    Day,
    days,
    known_adjustments,
    known_ids,
    last_total_day,
    set_adjustments,
    set_costs,
)

_DAY_US = 86_400 * MICRO


@dataclass(frozen=True, slots=True)
class Difference:
    """The two figures for one model on one day, or (with upstream_id) for one answer."""

    day: str
    model: str
    upstream_id: str | None
    ledger_requests: int
    provider_requests: int
    ledger_usd: Decimal
    provider_usd: Decimal

    @property
    def usd(self) -> Decimal:
        """The amount in USD that the ledger lacks; negative where it has too much."""
        return self.provider_usd - self.ledger_usd


class Reconciliation:
    """The reconciliation with one provider. catalogue: gives the prices where the export has only
    tokens."""

    def __init__(self, database: Database, provider: str, catalogue: Sequence[ModelCard]) -> None:
        self._database = database
        self._provider = provider
        self._adjusted: dict[str, Adjustment] = {}
        self._cards: Mapping[str, ModelCard] = {
            card.upstream_model: card for card in catalogue if card.provider == provider
        }

    def differences(self, rows: Sequence[Exported]) -> list[Difference]:
        """The differences for all answers that have an id, and for all days of rows without one.
        Raises StorageError."""
        self._adjusted = known_adjustments(self._database, self._provider)
        ids = [row.upstream_id for row in rows if row.upstream_id is not None]
        known = dict(known_ids(self._database, self._provider, ids))
        last = last_total_day(self._database, self._provider)
        # On a day whose attempts have become totals, an answer is part of them although its id is
        # unknown.
        single = [row for row in rows if row.upstream_id in known or _is_kept(row, last)]
        rest = [row for row in rows if not (row.upstream_id in known or _is_kept(row, last))]
        found = [self._of_answer(row, known.get(row.upstream_id or "")) for row in single]
        return found + self._of_days(rest, {self._name(row.upstream_id or "") for row in single})

    def apply(self, found: Sequence[Difference]) -> None:
        """Replaces the ledger's figures by the provider's; applying the same export again changes
        nothing. Raises StorageError."""
        answers = {
            d.upstream_id: pico(d.provider_usd)
            for d in found
            if d.upstream_id is not None and d.ledger_requests
        }
        set_costs(self._database, self._provider, answers)
        lacking = [d for d in found if d.upstream_id is None or not d.ledger_requests]
        set_adjustments(self._database, [self._adjustment(d) for d in lacking])

    def _adjustment(self, difference: Difference) -> dict[str, object]:
        name = self._name(difference.upstream_id or f"{difference.day}:{difference.model}")
        return {
            "id": name,
            "created_at": micros(time.time()),
            "day": difference.day,
            "provider": self._provider,
            "model": difference.model,
            "cost_pico": self._of_name(name) + pico(difference.usd),
            "note": "reconciled with the provider's export",
        }

    def _of_answer(self, row: Exported, known_pico: int | None) -> Difference:
        return Difference(
            row.day,
            row.model,
            row.upstream_id,
            0 if known_pico is None else 1,
            1,
            usd((known_pico or 0) + self._of_name(self._name(row.upstream_id or ""))),
            self._cost_usd(row),
        )

    def _of_days(self, rows: Sequence[Exported], others: set[str]) -> list[Difference]:
        """The differences by day. others: adjustments for answers that are compared one by one."""
        if not rows:
            return []
        told: dict[tuple[str, str], tuple[int, Decimal]] = {}
        for row in rows:
            n_requests, cost = told.get((row.day, row.model), (0, Decimal(0)))
            key = row.day, row.model
            told[key] = n_requests + row.requests, cost + self._cost_usd(row)
        known = days(self._database, self._provider, *_span(sorted(day for day, _ in told)))
        nothing = Day()
        return [
            Difference(
                day,
                model,
                None,
                known.get((day, model), nothing).requests,
                told.get((day, model), (0, Decimal(0)))[0],
                usd(known.get((day, model), nothing).cost_pico + self._of_day(day, model, others)),
                told.get((day, model), (0, Decimal(0)))[1],
            )
            for day, model in sorted({*told, *known})
        ]

    def _name(self, what: str) -> str:
        return hashlib.sha256(f"{self._provider}\n{what}".encode()).hexdigest()

    def _of_name(self, name: str) -> int:
        """The adjustment so far, in picodollars."""
        adjusted = self._adjusted.get(name)
        return 0 if adjusted is None else adjusted.cost_pico

    def _of_day(self, day: str, model: str, others: set[str]) -> int:
        """The adjustments so far, in picodollars, for the day as a whole or for its answers."""
        return sum(
            adjusted.cost_pico
            for name, adjusted in self._adjusted.items()
            if (adjusted.day, adjusted.model) == (day, model) and name not in others
        )

    def _cost_usd(self, row: Exported) -> Decimal:
        if row.cost_usd is not None:
            return row.cost_usd
        card = self._cards.get(row.model)
        usage = Usage(
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            cached_tokens=row.cached_tokens,
        )
        cost = None if card is None else actual_cost_usd(card, usage)
        return Decimal(0) if cost is None else cost


def _is_kept(row: Exported, last_total_day: str) -> bool:
    """Whether the answer has an id, and all attempts of its day are still stored."""
    return row.upstream_id is not None and row.day > last_total_day


def _span(told: Sequence[str]) -> tuple[int, int]:
    """From the beginning of the first day to the end of the last, in microseconds."""
    first, last = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (told[0], told[-1]))
    return micros(first.timestamp()), micros(last.timestamp()) + _DAY_US
