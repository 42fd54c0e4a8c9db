"""What decisions are made by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator

from router.choice import BudgetMode, Objective
from server.config.settings.breaker_rules import BreakerRules
from server.config.settings.constraints import ConstraintSettings
from server.config.settings.fields import PositiveSeconds, PositiveUsd, Section, Usd


class RoutingRules(Section):
    """What a decision is made by; a profile overrides any of them.

    budget_usd: of a request that brings none. budget_mode: expected bounds the mean, hard every
    request. usd_per_win: what a certain win is worth: a dearer model must earn its cost, within the
    budget. objective: what is maximised. opponents: whom a win rate is against: uniform over the
    leaderboard, or weights by name. models: an allow-list. fallbacks: further models tried before
    the first byte.
    """

    budget_usd: Usd | None = None
    budget_mode: BudgetMode = BudgetMode.EXPECTED
    usd_per_win: PositiveUsd | None = None
    objective: Objective = Objective.WIN_RATE
    opponents: Literal["uniform"] | dict[str, float] = "uniform"
    models: list[str] | None = None
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
        """None: uniform over the leaderboard."""
        return None if isinstance(self.opponents, str) else self.opponents


class BreakerSettings(Section):
    """When a failing model or provider is left alone, and for how long."""

    consecutive_failures: PositiveInt = 5
    failure_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_requests: PositiveInt = 20
    window_s: PositiveSeconds = 30.0
    open_s: PositiveSeconds = 5.0
    max_open_s: PositiveSeconds = 60.0

    @property
    def rules(self) -> BreakerRules:
        """As the breakers take them."""
        return BreakerRules(**self.model_dump())


class WindowBudget(Section):
    """amount_usd may be spent in any window_s seconds, by all together or by each key."""

    amount_usd: Usd
    window_s: PositiveInt
    per: Literal["global", "key"] = "global"


class PersonaliseSettings(Section):
    """Each key's leaderboards are moved by what its own feedback says (comparisons whose receipts
    are kept), as far as so few votes allow. keys: whose, by name; all where it is not given.
    min_votes: of a key with fewer nothing is changed. every_s: how often new feedback is learnt.
    """

    keys: list[str] | None = None
    min_votes: PositiveInt = 5
    every_s: PositiveSeconds = 300.0


class SessionSettings(Section):
    """Requests of one job are decided together: by one draw, and the results of a tool go to the
    model that called it. ttl_s: how long a session lasts that is not used. tool_loop: `free` lets
    another model answer for them."""

    enabled: bool = True
    ttl_s: PositiveSeconds = 86_400.0
    tool_loop: Literal["stay", "free"] = "stay"


class RoutingSettings(RoutingRules):
    """How requests are routed unless they say otherwise.

    profiles: asked for as model p2l:NAME.
    retries: times the same model is asked again where nothing else could answer.
    hedge_after_s: where nothing has come by then, a second model is asked as well and the first to
    answer wins; both are paid. personalise: true or its settings: routing by each key's own taste.
    """

    profiles: dict[str, RoutingRules] = Field(default_factory=dict)
    retries: Annotated[int, Field(ge=0)] = 1
    hedge_after_s: PositiveSeconds | None = None
    breaker: BreakerSettings = Field(default_factory=BreakerSettings)
    window_budgets: list[WindowBudget] = Field(default_factory=list)
    personalise: PersonaliseSettings | None = None
    sessions: SessionSettings = Field(default_factory=SessionSettings)

    @field_validator("personalise", mode="before")
    @classmethod
    def _true_is_as_usual(cls, value: object) -> object:
        if isinstance(value, bool):
            return {} if value else None
        return value

    @property
    def has_constraints(self) -> bool:
        """Whether any request may need the general program's solver."""
        return any(r.constraints is not None for r in (self, *self.profiles.values()))

    def rules(self, profile: str | None) -> RoutingRules:
        """The rules of a profile on top of the defaults. Raises KeyError for an unknown profile."""
        if profile is None:
            return self
        own = self.profiles[profile].model_dump(exclude_unset=True)
        base = {name: getattr(self, name) for name in RoutingRules.model_fields}
        return RoutingRules.model_validate(base | own)
