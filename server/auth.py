"""Who is calling. Keys are compared as hashes, all of them, in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from starlette.datastructures import Headers

from server.errors import AuthenticationError
from server.secret import Secret
from server.settings import AuthSettings, KeySettings


class MissingKeyError(Exception):
    """A variable that should hold a caller's key is not set."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What a key may use; None: as much as it likes. window_s None: budget_usd is for ever."""

    budget_usd: Decimal | None = None
    window_s: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """models: the catalogue names this caller may use, None for all. usd_per_win: what a certain
    win is worth to them, None where routing says. expires_at: seconds since 1970."""

    name: str
    models: frozenset[str] | None = None
    admin: bool = False
    usd_per_win: Decimal | None = None
    limits: KeyLimits = KeyLimits()
    expires_at: float | None = None


class Authenticator:
    """Knows the configured keys by their SHA-256 only."""

    def __init__(self, keys: Sequence[tuple[bytes, Caller]]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def from_settings(cls, auth: AuthSettings, environ: Mapping[str, str]) -> Authenticator:
        """Raises MissingKeyError naming the variable."""
        keys = []
        for key in auth.keys:
            models = None if key.models is None else frozenset(key.models)
            digest = key.key_sha256 or _digest_of(key.key_env or "", environ)
            expires_at = None if key.expires_at is None else key.expires_at.timestamp()
            caller = Caller(key.name, models, key.admin, key.usd_per_win, _limits(key), expires_at)
            keys.append((bytes.fromhex(digest), caller))
        return cls(keys)

    @classmethod
    def of_key(cls, key: Secret) -> Authenticator:
        """One key for everything; an empty one leaves it open."""
        if not key:
            return cls([])
        digest = hashlib.sha256(key.reveal().encode()).digest()
        return cls([(digest, Caller("the key", admin=True))])

    @property
    def is_open(self) -> bool:
        """No key is configured: anybody who can connect may call."""
        return not self._keys

    def caller(self, headers: Headers) -> Caller:
        """Raises AuthenticationError."""
        if self.is_open:
            return Caller("anonymous", admin=True)
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.caller_with(key.strip())
        if not scheme and "x-api-key" in headers:
            # as Anthropic's clients send it
            return self.caller_with(headers["x-api-key"].strip())
        raise AuthenticationError

    def caller_with(self, key: str) -> Caller:
        """The caller whose key this is. Raises AuthenticationError."""
        if self.is_open:
            return Caller("anonymous", admin=True)
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = [caller for known, caller in self._keys if hmac.compare_digest(known, digest)]
        if not found:
            raise AuthenticationError
        return found[0]


def _limits(key: KeySettings) -> KeyLimits:
    return KeyLimits(key.budget_usd, key.window_s, key.requests_per_minute, key.tokens_per_minute)


def _digest_of(variable: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable, "")
    if not value:
        raise MissingKeyError(
            f"auth.keys names the variable {variable}, which is not set: set it to the key"
        )
    return hashlib.sha256(value.encode()).hexdigest()
