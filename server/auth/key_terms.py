"""The terms of a new API key, as given by an admin or on the command line."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import AwareDatetime, Field, PositiveInt, model_validator

from server.auth.authenticator import Caller, KeyLimits
from server.config.settings.fields import Section, Usd

_DAY_S = 86_400


class KeyTerms(Section):
    """The terms of a key. models: catalogue names, None for all. budget_usd: in USD in any
    window_s, or in total without it. max_request_usd: what one request may cost at most."""

    name: Annotated[str, Field(pattern=r"^[!-~]([ -~]{0,98}[!-~])?$")]
    models: list[str] | None = None
    admin: bool = False
    budget_usd: Usd | None = None
    window_s: PositiveInt | None = None
    max_request_usd: Usd | None = None
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    expires_at: AwareDatetime | None = None
    expires_in_days: PositiveInt | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> KeyTerms:
        if self.window_s is not None and self.budget_usd is None:
            raise ValueError("window_s needs budget_usd, the USD to spend in it")
        if self.expires_at is not None and self.expires_in_days is not None:
            raise ValueError("give one of expires_at and expires_in_days")
        if self.expires_at is not None and self.expires_at.timestamp() <= time.time():
            raise ValueError("expires_at is in the past")
        return self

    @property
    def caller(self) -> Caller:
        """The caller to whom the key will belong."""
        limits = KeyLimits(
            self.budget_usd,
            self.window_s,
            self.requests_per_minute,
            self.tokens_per_minute,
            self.max_request_usd,
        )
        models = None if self.models is None else frozenset(self.models)
        return Caller(
            self.name, models, self.admin, limits=limits, expires_at=self._expiry(time.time())
        )

    def _expiry(self, now: float) -> float | None:
        if self.expires_in_days is not None:
            return now + self.expires_in_days * _DAY_S
        return None if self.expires_at is None else self.expires_at.timestamp()
