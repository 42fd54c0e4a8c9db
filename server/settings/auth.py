"""Who may call, and how much."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from server.settings.fields import PositiveUsd, Section, Usd


class KeySettings(Section):
    """A caller's key: by the variable that holds it, or by its SHA-256 in lower-case hex."""

    name: str
    key_env: str | None = None
    key_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    models: list[str] | None = None
    admin: bool = False
    # what a certain win is worth to this caller; overrides routing's and the profiles'
    usd_per_win: PositiveUsd | None = None
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
