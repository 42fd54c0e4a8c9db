"""Constraints beyond one budget that every mix must satisfy."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from router.constraints import Constraints, FurtherBudget
from server.config.settings.fields import PositiveSeconds, Section, Usd

Share = Annotated[float, Field(ge=0, le=1)]


class FurtherBudgetSettings(Section):
    """A limit on the mean cost of a draw among some models.

    name: the name of the limit. amount_usd: the limit in USD per request. models: the models, or
    columns, whose cost counts.
    """

    name: str
    amount_usd: Usd
    models: Annotated[list[str], Field(min_length=1)]


class ConstraintSettings(Section):
    """Constraints that every mix must satisfy.

    max_latency_s: a bound on the mean latency of a draw in seconds, as measured by this gateway:
    until the first byte of a stream, otherwise until the whole answer. min_value: a lower bound on
    the objective; the cost is then minimised. provider_shares: the largest probability with which a
    draw may go to each provider. budgets: limits on the mean cost of some models.
    """

    max_latency_s: PositiveSeconds | None = None
    min_value: Share | None = None
    provider_shares: dict[str, Share] = Field(default_factory=dict)
    budgets: list[FurtherBudgetSettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _says_something(self) -> ConstraintSettings:
        names = [budget.name for budget in self.budgets]
        if len(set(names)) < len(names):
            raise ValueError("budgets: every budget needs a name of its own")
        if not (self.provider_shares or self.budgets) and (
            self.max_latency_s is None and self.min_value is None
        ):
            raise ValueError("name at least one constraint, or leave constraints out")
        return self

    def rows(self, latency_s: dict[str, float]) -> Constraints:
        """The constraints in the router's form. latency_s: measured latencies by catalogue name."""
        return Constraints(
            max_latency_s=self.max_latency_s,
            latency_s=latency_s,
            min_value=self.min_value,
            provider_shares=self.provider_shares,
            budgets=tuple(
                FurtherBudget(name=b.name, amount_usd=b.amount_usd, models=tuple(b.models))
                for b in self.budgets
            ),
        )
