"""The terms of a new API key, as given by an admin or on the command line."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field, PositiveInt, model_validator

from server.auth.authenticator import Caller, KeyLimits
from server.config.settings.fields import Section, Usd

_DAY_S = 86_400
_EXPIRY: Final = frozenset({"expires_at", "expires_in_days"})


class KeyTerms(Section):
    """The terms of a key. models: catalogue names, None for all. budget_usd: in USD in any
    window_s, or in total without it. max_request_usd, session_budget_usd: what one request, or all
    requests of one session, may cost at most. shadow: whether second models may answer its requests
    too, to be graded."""

    name: Annotated[str, Field(pattern=r"^[!-~]([ -~]{0,98}[!-~])?$")]
    models: list[str] | None = None
    admin: bool = False
    budget_usd: Usd | None = None
    window_s: PositiveInt | None = None
    max_request_usd: Usd | None = None
    session_budget_usd: Usd | None = None
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    expires_at: AwareDatetime | None = None
    expires_in_days: PositiveInt | None = None
    shadow: bool = True

    @model_validator(mode="after")
    def _fit_together(self) -> KeyTerms:
        if self.window_s is not None and self.budget_usd is None:
            raise ValueError("window_s needs budget_usd, the USD that may be spent in that time")
        if self.expires_at is not None and self.expires_in_days is not None:
            raise ValueError("give expires_at or expires_in_days, not both")
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
            self.session_budget_usd,
        )
        models = None if self.models is None else frozenset(self.models)
        return Caller(
            self.name,
            models,
            self.admin,
            limits=limits,
            expires_at=self._expiry(time.time()),
            shadow=self.shadow,
        )

    def _expiry(self, now: float) -> float | None:
        if self.expires_in_days is not None:
            return now + self.expires_in_days * _DAY_S
        return None if self.expires_at is None else self.expires_at.timestamp()


def changed(caller: Caller, given: Mapping[str, Any]) -> tuple[Caller, frozenset[str]]:
    """Changes some terms of a key. given: the new values by the names of KeyTerms; None removes a
    limit. Returns the caller with the new terms, and the names under which the changed ones are
    stored. Raises ValidationError."""
    limits = caller.limits
    current = {
        "name": caller.name,
        "models": None if caller.models is None else sorted(caller.models),
        "admin": caller.admin,
        "budget_usd": limits.budget_usd,
        "window_s": limits.window_s,
        "max_request_usd": limits.max_request_usd,
        "session_budget_usd": limits.session_budget_usd,
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "shadow": caller.shadow,
    }
    new = KeyTerms.model_validate({**current, **given}).caller
    names = frozenset(given) - _EXPIRY
    if names == given.keys():
        return replace(new, expires_at=caller.expires_at), names
    return new, names | {"expires_at"}
