"""The configuration: one YAML file. Every key is checked; every secret is given by the name of a
variable."""

from __future__ import annotations

from pydantic import Field, PrivateAttr, model_validator

from server.config.aliases import is_pattern, pattern_problem, routed_name
from server.config.columns import column_names
from server.config.settings.alerts import AlertSettings
from server.config.settings.auth import AuthSettings, KeySettings
from server.config.settings.facts import FactOverrides, FactsFile
from server.config.settings.fields import Section
from server.config.settings.learning import LearningSettings
from server.config.settings.operations import (
    LimitsSettings,
    RedisSettings,
    ServerSettings,
    StorageSettings,
    TelemetrySettings,
)
from server.config.settings.prices import PricesSettings
from server.config.settings.providers import Capability, ModelSettings, ProviderSettings
from server.config.settings.routing import (
    RoutingRules,
    RoutingSettings,
    SessionSettings,
    WindowBudget,
)
from server.config.settings.scorer import ScorerSettings

__all__ = [
    "AlertSettings",
    "AuthSettings",
    "Capability",
    "FactOverrides",
    "FactsFile",
    "KeySettings",
    "LearningSettings",
    "LimitsSettings",
    "ModelSettings",
    "PricesSettings",
    "ProviderSettings",
    "RedisSettings",
    "RoutingRules",
    "RoutingSettings",
    "ScorerSettings",
    "ServerSettings",
    "SessionSettings",
    "Settings",
    "StorageSettings",
    "TelemetrySettings",
    "WindowBudget",
]


class Settings(Section):
    """The whole configuration.

    providers: the providers that requests may be sent to, by name. models: the catalogue, by the
    name that callers use. aliases: other names -> a model, p2l or p2l:PROFILE. A star in a name
    stands for any characters; such a pattern is tried for names that are neither a model's nor an
    alias, and the longest pattern wins. routing: how models are chosen. scorer: where leaderboards
    come from. learning: what is learnt from this gateway's own answers. auth: the keys of
    callers. server: rules for browsers. storage: the database. redis: state that several
    gateways share. prices: list prices. facts: the table of facts about models. limits: bounds
    on the work of one process. telemetry: traces. alerts: who is told
    of budgets that are nearly spent.
    """

    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    aliases: dict[str, str] = Field(default_factory=dict)
    routing: RoutingSettings = Field(default_factory=RoutingSettings)
    scorer: ScorerSettings = Field(default_factory=ScorerSettings)
    learning: LearningSettings = Field(default_factory=LearningSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    prices: PricesSettings = Field(default_factory=PricesSettings)
    facts: FactsFile = Field(default_factory=FactsFile)
    limits: LimitsSettings = Field(default_factory=LimitsSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    # The models that were configured, where others have been added since.
    _configured: dict[str, ModelSettings] | None = PrivateAttr(default=None)

    @property
    def configured_models(self) -> dict[str, ModelSettings]:
        """The models that the configuration names; `models` may also hold those of `models:
        auto`."""
        return self.models if self._configured is None else self._configured

    @property
    def model_names(self) -> frozenset[str]:
        """The names that a request or a list may use for a model: those of models and of
        columns."""
        return frozenset(self.models).union(column_names(self.models))

    def remember_configured(self, models: dict[str, ModelSettings]) -> None:
        """Records the configured models: all others in these settings have been added."""
        self._configured = models

    @property
    def is_auto(self) -> bool:
        """Whether some provider's own list determines which models there are."""
        return any(provider.models == "auto" for provider in self.providers.values())

    @model_validator(mode="after")
    def _names_fit(self) -> Settings:
        for name, model in self.models.items():
            provider = self.providers.get(model.provider)
            if provider is None:
                raise ValueError(f"models.{name}.provider: there is no provider {model.provider!r}")
        self._check_allow_lists()
        self._check_aliases()
        judge = self.learning.judge
        if judge is not None and judge not in self.model_names and not self.is_auto:
            raise ValueError(f"learning.judge: there is no model {judge!r} under models")
        return self

    def _check_aliases(self) -> None:
        routed = {"p2l", "auto", *(f"p2l:{name}" for name in self.routing.profiles)}
        names = self.model_names
        for alias, given in self.aliases.items():
            target = given if given in names else routed_name(given)
            if alias in routed or alias in names:
                raise ValueError(f"aliases.{alias} is the name of a model or profile itself")
            problem = pattern_problem(alias) if is_pattern(alias) else None
            if problem is not None:
                raise ValueError(f"aliases.{alias}: {problem}")
            if target not in routed and target not in names:
                raise ValueError(f"aliases.{alias}: there is no model or profile {given!r}")

    def _check_allow_lists(self) -> None:
        lists = {"routing.models": self.routing.models}
        lists |= {
            f"routing.profiles.{n}.models": p.models for n, p in self.routing.profiles.items()
        }
        lists |= {
            f"routing.profiles.{n}.trial.models": p.trial.models
            for n, p in self.routing.profiles.items()
            if p.trial is not None
        }
        lists |= {f"auth.keys.{key.name}.models": key.models for key in self.auth.keys}
        known = self.model_names
        for place, names in lists.items():
            for name in names or ():
                if name not in known:
                    raise ValueError(f"{place}: there is no model {name!r} under models")
