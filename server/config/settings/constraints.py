"""Rows beyond one budget, declared: what every mix must keep."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from router.constraints import Constraints, FurtherBudget
from server.config.settings.fields import PositiveSeconds, Section, Usd

Share = Annotated[float, Field(ge=0, le=1)]


class FurtherBudgetSettings(Section):
    """The mean cost of what is drawn of these models, in USD a request."""

    name: str
    amount_usd: Usd
    models: Annotated[list[str], Field(min_length=1)]


class ConstraintSettings(Section):
    """max_latency_s: the mean of a draw, as measured here: until the first byte of a stream, until
    the whole answer otherwise. min_value: of the objective; the cost is then minimised.
    provider_shares: the largest probability of a draw to go to a provider."""

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
        """As the router takes them. latency_s: catalogue name -> what was measured."""
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
