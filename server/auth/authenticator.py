"""Authentication: finds the caller of a request by its key.

Keys are compared by hash, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from starlette.datastructures import Headers

from server.auth.foreign_keys import is_login, told_of
from server.config.environment import variable
from server.config.secret import Secret
from server.config.settings import AuthSettings, KeySettings
from server.config.settings.fields import EffortMode
from server.errors import AuthenticationError
from server.wire.headers import find_header

_PREFIX_BYTES: Final = 4


class MissingKeyError(Exception):
    """An environment variable that should hold a caller's key is not set."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """The limits of a key; None: no limit. budget_usd counts in any window_s, or for ever where
    window_s is None. max_request_usd, session_budget_usd: what one request, or one session, may
    cost at most, whatever its headers say."""

    budget_usd: Decimal | None = None
    window_s: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_request_usd: Decimal | None = None
    session_budget_usd: Decimal | None = None

    @property
    def bounds_money(self) -> bool:
        """Whether a limit on spending is set."""
        limits = (self.budget_usd, self.max_request_usd, self.session_budget_usd)
        return any(limit is not None for limit in limits)


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """A caller whose key is valid. It equals only itself, since every request looks it up.

    models: the catalogue names that this caller may use, None for all. usd_per_win: what a certain
    win is worth to it in USD, None where routing sets it. effort: whether its requests' own efforts
    pin columns, None where routing says. shadow: whether second models may answer its requests too,
    to be graded. expires_at: seconds since 1970.
    is_bounded: whether its spending or its choice of models is limited.
    """

    name: str
    models: frozenset[str] | None = None
    admin: bool = False
    usd_per_win: Decimal | None = None
    limits: KeyLimits = KeyLimits()
    expires_at: float | None = None
    effort: EffortMode | None = None
    shadow: bool = True
    is_bounded: bool = field(init=False)

    def __post_init__(self) -> None:
        bounded = self.models is not None or self.limits.bounds_money
        object.__setattr__(self, "is_bounded", bounded)


_ANYBODY: Final = Caller("anonymous", admin=True)


class Authenticator:
    """Knows keys by their SHA-256 only: those of the configuration, and stored ones.

    A digest is looked up by its first bytes. That reveals nothing useful: a key whose digest begins
    like another's is as hard to find as any other. The rest is compared in constant time.
    """

    def __init__(self, keys: Sequence[tuple[bytes, Caller]]) -> None:
        self._configured = tuple(keys)
        self._any_stored = False
        # No key is configured or stored: anybody who can connect may call.
        self.is_open = not keys
        self._take(keys)

    def take_stored(self, keys: Sequence[tuple[bytes, Caller]], *, any_stored: bool) -> None:
        """Replaces the stored keys by those that are valid now.

        any_stored: whether a key is or was stored: when the last is revoked, the gateway stays
        closed.
        """
        self._any_stored = any_stored
        self.is_open = not self._configured and not any_stored
        self._take([*self._configured, *keys])

    def _take(self, keys: Sequence[tuple[bytes, Caller]]) -> None:
        self._by_prefix = _by_prefix(keys)
        self.has_several = len({caller.name for _, caller in keys}) > 1

    def with_stored_of(self, other: Authenticator) -> Authenticator:
        """A copy with the stored keys that the other authenticator knows."""
        known = [pair for pairs in other._by_prefix.values() for pair in pairs]
        stored = [pair for pair in known if pair not in other._configured]
        self.take_stored(stored, any_stored=other._any_stored)
        return self

    @classmethod
    def from_settings(cls, auth: AuthSettings, environ: Mapping[str, str]) -> Authenticator:
        """Builds it from the settings. Raises MissingKeyError, which names the variable."""
        keys = []
        for key in auth.keys:
            models = None if key.models is None else frozenset(key.models)
            digest = key.key_sha256 or _digest_of(key.key_env or "", environ)
            expires_at = None if key.expires_at is None else key.expires_at.timestamp()
            caller = Caller(
                key.name,
                models,
                key.admin,
                key.usd_per_win,
                _limits(key),
                expires_at,
                key.effort,
                key.shadow,
            )
            keys.append((bytes.fromhex(digest), caller))
        return cls(keys)

    @classmethod
    def of_key(cls, key: Secret) -> Authenticator:
        """Builds it with a single key; an empty key means no authentication."""
        if not key:
            return cls([])
        digest = hashlib.sha256(key.reveal().encode()).digest()
        return cls([(digest, Caller("the key", admin=True))])

    @property
    def has_admin(self) -> bool:
        """Whether some key is an admin's."""
        return any(caller.admin for caller in self.callers.values())

    @property
    def callers(self) -> dict[str, Caller]:
        """All known callers, by name."""
        return {c.name: c for pairs in self._by_prefix.values() for _, c in pairs}

    @property
    def configured_names(self) -> frozenset[str]:
        """The names of the keys in the configuration."""
        return frozenset(caller.name for _, caller in self._configured)

    def caller(self, headers: Headers) -> Caller:
        """The caller of a request. Raises AuthenticationError."""
        if self.is_open:
            return _ANYBODY
        given = find_header(headers.raw, b"authorization") or b""
        scheme, _, key = given.decode("latin-1").partition(" ")
        if scheme.lower() == "bearer":
            known = self._known(key.strip())
            if known is None and "x-api-key" in headers and is_login(key.strip()):
                # Some clients send the login of a subscription beside the key.
                known = self._known(headers["x-api-key"].strip())
            return known or self.caller_with(key.strip())
        if not scheme and "x-api-key" in headers:
            # Anthropic's clients send the key in this header.
            return self.caller_with(headers["x-api-key"].strip())
        raise AuthenticationError

    def caller_with(self, key: str) -> Caller:
        """The caller to whom this key belongs. Raises AuthenticationError."""
        if self.is_open:
            return _ANYBODY
        known = self._known(key)
        if known is None:
            raise AuthenticationError(told_of(key))
        return known

    def _known(self, key: str) -> Caller | None:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        pairs = self._by_prefix.get(digest[:_PREFIX_BYTES], ((b"", None),))
        for known, caller in pairs:
            if hmac.compare_digest(known, digest) and caller is not None and _is_live(caller):
                return caller
        return None


def _by_prefix(
    keys: Sequence[tuple[bytes, Caller]],
) -> dict[bytes, tuple[tuple[bytes, Caller], ...]]:
    found: dict[bytes, tuple[tuple[bytes, Caller], ...]] = {}
    for digest, caller in keys:
        prefix = digest[:_PREFIX_BYTES]
        found[prefix] = (*found.get(prefix, ()), (digest, caller))
    return found


def _is_live(caller: Caller) -> bool:
    return caller.expires_at is None or caller.expires_at > time.time()


def _limits(key: KeySettings) -> KeyLimits:
    return KeyLimits(
        key.budget_usd,
        key.window_s,
        key.requests_per_minute,
        key.tokens_per_minute,
        key.max_request_usd,
        key.session_budget_usd,
    )


def _digest_of(name: str, environ: Mapping[str, str]) -> str:
    value = variable(name, environ)
    if not value:
        raise MissingKeyError(
            f"auth.keys names the variable {name}, which is not set: set it to the key"
        )
    return hashlib.sha256(value.encode()).hexdigest()
