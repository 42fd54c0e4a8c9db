"""The settings for routing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator

from router.choice import BudgetMode, Objective
from server.config.settings.breaker_rules import BreakerRules
from server.config.settings.constraints import ConstraintSettings
from server.config.settings.fields import (
    EffortMode,
    PositiveSeconds,
    PositiveUsd,
    Section,
    Usd,
)


class RoutingRules(Section):
    """The rules of a decision; a profile may override any of them.

    budget_usd: the budget of a request that states none. budget_mode: expected: the budget bounds
    the mean cost; hard: it bounds the cost of every request. usd_per_win: what a certain win is
    worth in USD: a more expensive model must earn its additional cost, within the budget.
    objective: what is maximised. opponents: the opponents of the win rate: uniform over the
    leaderboard, or weights by name. models: the only models that may be chosen. effort: caller: an
    effort that the request names rules out the columns of other efforts; route: the router chooses
    among all columns, since agents always name an effort. fallbacks: how many further models may be
    tried before the first byte. constraints: constraints beyond the budget.
    """

    budget_usd: Usd | None = None
    budget_mode: BudgetMode = BudgetMode.EXPECTED
    usd_per_win: PositiveUsd | None = None
    objective: Objective = Objective.WIN_RATE
    opponents: Literal["uniform"] | dict[str, float] = "uniform"
    models: list[str] | None = None
    effort: EffortMode = "caller"
    fallbacks: Annotated[int, Field(ge=0)] = 2
    constraints: ConstraintSettings | None = None

    @field_validator("opponents")
    @classmethod
    def _weights_make_a_distribution(cls, value: str | dict[str, float]) -> str | dict[str, float]:
        if isinstance(value, str):
            return value
        if any(not math.isfinite(weight) or weight < 0 for weight in value.values()):
            raise ValueError("opponents' weights must be finite and at least 0")
        if sum(value.values()) <= 0:
            raise ValueError("opponents need at least one weight above 0")
        return value

    @property
    def opponent_weights(self) -> Mapping[str, float] | None:
        """The opponents' weights by name; None: uniform over the leaderboard."""
        return None if isinstance(self.opponents, str) else self.opponents


class TrialSettings(Section):
    """A trial of new models in a profile: they serve a share of its sessions, and its other models
    the rest, until ratings show that they are worse.

    models: the new models. share: the share of the sessions that they serve. allowed_loss: how much
    lower their mean rating may be, in ratings from 0 to 1; a trial that is certainly worse ends.
    confidence: the probability that no bound is ever wrong, however often one looks.
    """

    models: Annotated[list[str], Field(min_length=1)]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    allowed_loss: Annotated[float, Field(ge=0, lt=1)] = 0.05
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95


class ProfileRules(RoutingRules):
    """The rules of a profile.

    trial: new models that serve a share of the sessions; default: none.
    """

    trial: TrialSettings | None = None


class BreakerSettings(Section):
    """When a failing model or provider rests, and for how long.

    consecutive_failures: how many failures in a row open the breaker. failure_ratio: the share of
    failed requests that opens the breaker. min_requests: the smallest number of requests for which
    the share counts. window_s: the period in seconds for which the share is counted. open_s: how
    long the breaker stays open at first; each failed probe doubles it. max_open_s: the longest time
    for which it stays open.
    """

    consecutive_failures: PositiveInt = 5
    failure_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_requests: PositiveInt = 20
    window_s: PositiveSeconds = 30.0
    open_s: PositiveSeconds = 5.0
    max_open_s: PositiveSeconds = 60.0

    @property
    def rules(self) -> BreakerRules:
        """The rules in the form that breakers use."""
        return BreakerRules(**self.model_dump())


class WindowBudget(Section):
    """A budget for a period of time: amount_usd may be spent in any window_s seconds.

    amount_usd: the amount. window_s: the length of the window in seconds. per: whether all callers
    share the amount, or each key has its own.
    """

    amount_usd: Usd
    window_s: PositiveInt
    per: Literal["global", "key"] = "global"


class SessionSettings(Section):
    """Decides the requests of one job together: one draw decides all of them, and the results of a
    tool go to the model that called it.

    enabled: whether there are sessions. ttl_s: how many seconds an unused session lasts. tool_loop:
    stay: the model that called a tool gets its result; free: another model may get it. budget_usd:
    what all requests of a session may cost together, where neither they nor their key set it.
    min_gain: where cost does not choose, what another model must gain over the one that gave the
    last answer, in units of the objective.
    """

    enabled: bool = True
    ttl_s: PositiveSeconds = 86_400.0
    tool_loop: Literal["stay", "free"] = "stay"
    budget_usd: Usd | None = None
    min_gain: Annotated[float, Field(ge=0, le=1)] = 0.02


class RoutingSettings(RoutingRules):
    """How requests are routed where they do not say otherwise.

    profiles: routing profiles by name, asked for as model p2l:NAME. retries: how many times the
    same model is asked again where no other could answer. hedge_after_s: where no answer has begun
    after this many seconds, a second model is asked as well, and the first to answer wins; both are
    paid for. breaker: when a failing model rests. window_budgets: budgets for periods of time.
    sessions: how the requests of one job are kept together.
    """

    profiles: dict[str, ProfileRules] = Field(default_factory=dict)
    retries: Annotated[int, Field(ge=0)] = 1
    hedge_after_s: PositiveSeconds | None = None
    breaker: BreakerSettings = Field(default_factory=BreakerSettings)
    window_budgets: list[WindowBudget] = Field(default_factory=list)
    sessions: SessionSettings = Field(default_factory=SessionSettings)

    @property
    def has_constraints(self) -> bool:
        """Whether some request may need the solver for constraints."""
        return any(r.constraints is not None for r in (self, *self.profiles.values()))

    def rules(self, profile: str | None) -> RoutingRules:
        """The rules of a profile on top of the defaults. Raises KeyError for an unknown profile."""
        if profile is None:
            return self
        own = self.profiles[profile].model_dump(exclude_unset=True, exclude={"trial"})
        base = {name: getattr(self, name) for name in RoutingRules.model_fields}
        return RoutingRules.model_validate(base | own)
