"""The configuration: one YAML file, every key checked, every secret by the name of a variable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from router.decide import BudgetMode

Capability = Literal["tools", "vision", "json_schema", "audio"]


def _exact(value: object) -> object:
    # YAML gives 2.5 as a binary float; its shortest spelling is what was written in the file
    return repr(value) if isinstance(value, float) else value


def _non_negative(value: Decimal) -> Decimal:
    if not value.is_finite() or value < 0:
        raise ValueError("must be a finite amount of at least 0")
    return value


Usd = Annotated[Decimal, BeforeValidator(_exact), AfterValidator(_non_negative)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors: a misspelt key must not be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ProviderSettings(Section):
    """Where requests are sent. The key is read from the environment, never from the file."""

    kind: Literal["openai", "anthropic", "gemini", "sandbox"] = "openai"
    base_url: str | None = None
    api_key_env: str | None = None
    connect_timeout_s: PositiveSeconds = 2.0
    first_byte_timeout_s: PositiveSeconds = 30.0
    idle_timeout_s: PositiveSeconds = 60.0
    max_concurrency: PositiveInt = 256

    @model_validator(mode="after")
    def _has_an_address(self) -> ProviderSettings:
        if self.kind != "openai":
            return self
        if self.base_url is None:
            raise ValueError('kind openai needs a base_url, for example "https://host/v1"')
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError("base_url must begin with http:// or https://")
        return self


class ModelSettings(Section):
    """One model of the catalogue. What is left out is looked up in the price list."""

    provider: str
    upstream_model: str | None = None
    leaderboard_name: str | None = None
    input_usd_per_mtok: Usd | None = None
    output_usd_per_mtok: Usd | None = None
    cached_input_usd_per_mtok: Usd | None = None
    cache_write_usd_per_mtok: Usd | None = None
    reasoning_usd_per_mtok: Usd | None = None
    audio_input_usd_per_mtok: Usd | None = None
    audio_output_usd_per_mtok: Usd | None = None
    request_usd: Usd = Decimal(0)
    context_window: PositiveInt | None = None
    max_output_tokens: PositiveInt | None = None
    capabilities: frozenset[Capability] | None = None
    expected_output_tokens: PositiveInt | None = None

    @model_validator(mode="after")
    def _prices_come_in_pairs(self) -> ModelSettings:
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError("give both input_usd_per_mtok and output_usd_per_mtok, or neither")
        return self


class RoutingRules(Section):
    """What a decision is made by; a profile overrides any of them."""

    budget_usd: Usd | None = None
    budget_mode: BudgetMode = BudgetMode.EXPECTED
    opponents: Literal["uniform"] | dict[str, float] = "uniform"
    models: list[str] | None = None

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


class RoutingSettings(RoutingRules):
    """How requests are routed unless they say otherwise."""

    profiles: dict[str, RoutingRules] = Field(default_factory=dict)
    fallbacks: Annotated[int, Field(ge=0)] = 2
    usd_per_win: Usd | None = None
    window_budgets: list[dict[str, Any]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _nothing_is_silently_ignored(self) -> RoutingSettings:
        # a spending limit that is read and not kept would be worse than a refusal to start
        if self.usd_per_win is not None:
            raise ValueError("usd_per_win is not available in this version: leave it out")
        if self.window_budgets:
            raise ValueError("window_budgets are not available in this version: leave them out")
        return self

    def rules(self, profile: str | None) -> RoutingRules:
        """The rules of a profile on top of the defaults. Raises KeyError for an unknown profile."""
        if profile is None:
            return self
        own = self.profiles[profile].model_dump(exclude_unset=True)
        base = {name: getattr(self, name) for name in RoutingRules.model_fields}
        return RoutingRules.model_validate(base | own)


class ScorerSettings(Section):
    """Where leaderboards come from: a checkpoint, or a constant."""

    checkpoint: str = "bundled"
    url: str | None = None
    fixed: dict[str, Annotated[float, Field(allow_inf_nan=False)]] | None = None
    engine: Literal["auto", "onnx", "torch", "vllm"] = "auto"
    on_failure: Literal["marginal", "error"] = "marginal"
    timeout_ms: PositiveInt = 2000

    @model_validator(mode="after")
    def _is_available(self) -> ScorerSettings:
        if self.url is not None:
            raise ValueError("url is not available in this version: name a checkpoint instead")
        if self.engine == "vllm":
            raise ValueError("engine vllm is not available in this version: use auto or torch")
        if self.fixed is not None and not self.fixed:
            raise ValueError("fixed needs at least one model with its coefficient")
        return self


class KeySettings(Section):
    """A caller's key: by the variable that holds it, or by its SHA-256 in lower-case hex."""

    name: str
    key_env: str | None = None
    key_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    models: list[str] | None = None
    admin: bool = False
    budget_usd: Usd | None = None
    window_s: PositiveInt | None = None
    requests_per_minute: PositiveInt | None = None

    @model_validator(mode="after")
    def _is_complete_and_kept(self) -> KeySettings:
        if (self.key_env is None) == (self.key_sha256 is None):
            raise ValueError("give exactly one of key_env and key_sha256")
        limits = ("budget_usd", "window_s", "requests_per_minute")
        for name in limits:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is not available in this version: leave it out")
        return self


class AuthSettings(Section):
    """Who may call. No keys: open, and then only loopback is bound."""

    keys: list[KeySettings] = Field(default_factory=list)


class StorageSettings(Section):
    """Where spend and receipts will be kept; nothing is stored in this version."""

    url: str = "sqlite:///p2l-router.db"
    keep_prompts: Literal[False] = False


class RedisSettings(Section):
    """Shared state of several gateways."""

    url: None = None


class LimitsSettings(Section):
    """Bounds on what one process takes on."""

    max_body_bytes: PositiveInt = 20_000_000
    max_concurrency: PositiveInt = 1000


class TelemetrySettings(Section):
    """Where traces go."""

    otlp_endpoint: None = None


class Settings(Section):
    """The whole configuration."""

    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    routing: RoutingSettings = Field(default_factory=RoutingSettings)
    scorer: ScorerSettings = Field(default_factory=ScorerSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    limits: LimitsSettings = Field(default_factory=LimitsSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)

    @model_validator(mode="after")
    def _names_fit(self) -> Settings:
        for name, model in self.models.items():
            provider = self.providers.get(model.provider)
            if provider is None:
                raise ValueError(f"models.{name}.provider: there is no provider {model.provider!r}")
            if provider.kind in ("anthropic", "gemini"):
                raise ValueError(
                    f"models.{name}.provider: kind {provider.kind} is not available in this "
                    "version; most providers also offer an OpenAI-compatible address (kind openai)"
                )
        self._check_allow_lists()
        return self

    def _check_allow_lists(self) -> None:
        lists = {"routing.models": self.routing.models}
        lists |= {
            f"routing.profiles.{n}.models": p.models for n, p in self.routing.profiles.items()
        }
        lists |= {f"auth.keys.{key.name}.models": key.models for key in self.auth.keys}
        for place, names in lists.items():
            for name in names or ():
                if name not in self.models:
                    raise ValueError(f"{place}: there is no model {name!r} under models")
