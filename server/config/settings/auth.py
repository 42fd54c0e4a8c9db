"""Who may call, and how much."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field, PositiveInt, model_validator

from server.config.settings.fields import PositiveUsd, Section, Usd


class KeySettings(Section):
    """A caller's key: by the variable that holds it, or by its SHA-256 in lower-case hex.

    name: spend is counted by it. models: those that it may use; left out: all. admin: may see the
    dashboard and metrics and create keys. usd_per_win: what a certain win is worth to this caller;
    overrides routing's and the profiles'. budget_usd: in any window_s seconds; without window_s: in
    all. max_request_usd: what one request may cost at most with its retries and fallbacks, whatever
    its headers say; a lower budget of the caller's own still holds. expires_at: from then on it is
    not known.
    """

    name: str
    key_env: str | None = None
    key_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    models: list[str] | None = None
    admin: bool = False
    usd_per_win: PositiveUsd | None = None
    budget_usd: Usd | None = None
    window_s: PositiveInt | None = None
    max_request_usd: Usd | None = None
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> KeySettings:
        if (self.key_env is None) == (self.key_sha256 is None):
            raise ValueError("give exactly one of key_env and key_sha256")
        if self.window_s is not None and self.budget_usd is None:
            raise ValueError("window_s needs budget_usd, the USD to spend in it")
        return self


class AuthSettings(Section):
    """Who may call. No keys: open, and then only loopback is bound."""

    keys: list[KeySettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_are_unique(self) -> AuthSettings:
        # spend is counted by name: two keys of one name would share a budget unawares
        names = [key.name for key in self.keys]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two keys have the name {name!r}")
        return self
