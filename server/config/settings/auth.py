"""The settings for callers' keys and their limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field, PositiveInt, model_validator

from server.config.settings.fields import EffortMode, PositiveUsd, Section, Usd


class KeySettings(Section):
    """The key of a caller. It is given by the variable that holds it, or by its SHA-256.

    name: the name under which spend is counted. key_env: the variable that holds the key.
    key_sha256: the key's SHA-256 in lower-case hex. models: the models that the key may use;
    default: all. admin: whether the key may see the dashboard and the metrics, and create keys.
    usd_per_win: what a certain win is worth to this caller in USD; it overrides the values of
    routing and of the profiles. effort: as in routing; it overrides routing and the profiles.
    budget_usd: what the key may spend in any window_s seconds; without
    window_s, in total. window_s: the length of the budget's window in seconds. max_request_usd:
    what one request may cost at most, including retries and fallbacks, whatever its headers say; a
    lower budget in the request still holds. session_budget_usd: what one session of the key may
    cost at most, whatever its headers say. requests_per_minute: how many requests the key may send.
    tokens_per_minute: how many tokens the key may use, input and output together. expires_at:
    when the key becomes invalid. shadow: false where the requests of the key are never answered by
    a second model too, whatever `learning.share` says.
    """

    name: str
    key_env: str | None = None
    key_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    models: list[str] | None = None
    admin: bool = False
    usd_per_win: PositiveUsd | None = None
    effort: EffortMode | None = None
    budget_usd: Usd | None = None
    window_s: PositiveInt | None = None
    max_request_usd: Usd | None = None
    session_budget_usd: Usd | None = None
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    expires_at: AwareDatetime | None = None
    shadow: bool = True

    @model_validator(mode="after")
    def _is_complete(self) -> KeySettings:
        if (self.key_env is None) == (self.key_sha256 is None):
            raise ValueError("give exactly one of key_env and key_sha256")
        if self.window_s is not None and self.budget_usd is None:
            raise ValueError("window_s needs budget_usd, the USD that may be spent in that time")
        return self


class AuthSettings(Section):
    """Who may call. Without keys the server accepts everybody, and then it binds to loopback only.

    keys: the callers' keys.
    """

    keys: list[KeySettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_are_unique(self) -> AuthSettings:
        # Spend is counted by name: two keys with one name would share a budget by accident.
        names = [key.name for key in self.keys]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two keys have the name {name!r}")
        return self
