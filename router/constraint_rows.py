"""Translates constraints into the rows of the linear program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from p2l_model.types import FloatArray
from router.candidates import Candidate
from router.catalog import ModelCard
from router.constraints import Constraints
from router.errors import UnkeptRow


@dataclass(frozen=True, slots=True)
class Row:
    """One constraint: coefficients (M,) @ mix <= limit. For a floor both sides are negated."""

    name: str
    coefficients: FloatArray
    limit: float

    @property
    def is_share(self) -> bool:
        """Whether this limits a provider's share, which no single model can keep."""
        return self.name.startswith(_SHARES)

    def told(self, least: float) -> UnkeptRow:
        """The row in the units of the configuration. least: the smallest possible coefficients @
        mix."""
        floor = self.name == MIN_VALUE
        sign = -1.0 if floor else 1.0
        return UnkeptRow(self.name, sign * self.limit, sign * least, floor)

    @property
    def scale(self) -> float:
        """The divisor that brings the row's numbers to about 1."""
        return max(float(np.abs(self.coefficients).max()), abs(self.limit)) or 1.0


BUDGET: Final = "budget_usd"


MIN_VALUE: Final = "min_value"


_SHARES: Final = "provider_shares."


def rows_of(
    pool: Sequence[Candidate], constraints: Constraints, budget_usd: Decimal | None
) -> list[Row]:
    """Returns one row per constraint; the request's own budget, if any, comes first."""
    cost = np.array([_usd(c) for c in pool])
    rows = [] if budget_usd is None else [Row(BUDGET, cost, float(budget_usd))]
    if constraints.max_latency_s is not None:
        limit = constraints.max_latency_s
        seconds = [constraints.latency_s.get(c.card.name, limit) for c in pool]
        rows.append(Row("max_latency_s", np.array(seconds), limit))
    if constraints.min_value is not None:
        rows.append(Row(MIN_VALUE, -np.array([c.value for c in pool]), -constraints.min_value))
    for provider, share in constraints.provider_shares.items():
        there = np.array([float(c.card.provider == provider) for c in pool])
        if there.any():
            rows.append(Row(_SHARES + provider, there, share))
    for budget in constraints.budgets:
        inside = np.array([_is_in(c.card, budget.models) for c in pool])
        rows.append(Row(f"budgets.{budget.name}", cost * inside, float(budget.amount_usd)))
    return rows


def _is_in(card: ModelCard, models: Sequence[str]) -> bool:
    """Whether a card is among the models; a model's name stands for all of its columns."""
    return card.name in models or card.base in models


def _usd(candidate: Candidate) -> float:
    cost = candidate.mean_cost_usd
    return math.inf if cost is None else float(cost)
