"""Constraints beyond one budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherBudget:
    """The mean cost of the draw that falls on these models is at most amount_usd."""

    name: str
    amount_usd: Decimal
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What a mix must keep besides its budget. None and empty: no such row.

    max_latency_s: the mean of the draw, by what was measured (latency_s: catalogue name ->
    seconds; a model without a measurement counts as max_latency_s itself: it is neither punished
    nor preferred). min_value: of the objective; then the cost is minimised instead.
    provider_shares: provider -> the largest probability that the draw goes there.
    """

    max_latency_s: float | None = None
    latency_s: Mapping[str, float] = field(default_factory=dict)
    min_value: float | None = None
    provider_shares: Mapping[str, float] = field(default_factory=dict)
    budgets: tuple[FurtherBudget, ...] = ()
