"""Constraints on the mix beyond a single budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherBudget:
    """A second budget: the expected cost of the draw that falls on `models` is at most
    amount_usd."""

    name: str
    amount_usd: Decimal
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Constraints that a mix must keep besides its budget. None or empty means no such constraint.

    max_latency_s: the limit of the draw's mean latency. latency_s: catalogue name -> measured
    seconds; a model without a measurement counts as max_latency_s itself, which neither punishes
    nor prefers it. min_value: a floor under the expected value of the objective; the cost is then
    minimised instead. provider_shares: provider -> the largest probability of drawing one of its
    models. budgets: further budgets, each for some of the models.
    """

    max_latency_s: float | None = None
    latency_s: Mapping[str, float] = field(default_factory=dict)
    min_value: float | None = None
    provider_shares: Mapping[str, float] = field(default_factory=dict)
    budgets: tuple[FurtherBudget, ...] = ()
