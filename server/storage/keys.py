"""API keys that were created by command or by an admin: their SHA-256 only, never themselves."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import orjson
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from server.auth import Caller, KeyLimits
from server.secret import Secret
from server.storage.database import Database
from server.storage.rows import MICRO, micros
from server.storage.schema import api_keys

_PREFIX: Final = "sk-p2l-"
_SECRET_BYTES: Final = 32


class KeyExistsError(Exception):
    """The name is taken, perhaps by a key that was revoked: spend is counted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key's terms. Times in seconds since 1970. It holds no key."""

    caller: Caller
    sha256: str
    created_at: float
    revoked_at: float | None = None

    @property
    def is_live(self) -> bool:
        """Neither revoked nor expired."""
        expires = self.caller.expires_at
        return self.revoked_at is None and (expires is None or expires > time.time())

    def to_json(self) -> dict[str, Any]:
        """As it is listed."""
        caller, limits = self.caller, self.caller.limits
        budget = limits.budget_usd
        return {
            "object": "api_key",
            "name": caller.name,
            "admin": caller.admin,
            "models": None if caller.models is None else sorted(caller.models),
            "budget_usd": None if budget is None else str(budget),
            "window_s": limits.window_s,
            "requests_per_minute": limits.requests_per_minute,
            "tokens_per_minute": limits.tokens_per_minute,
            "created_at": self.created_at,
            "expires_at": caller.expires_at,
            "revoked_at": self.revoked_at,
        }


def create_key(database: Database, caller: Caller) -> tuple[Secret, StoredKey]:
    """A new key with these terms; the key itself is known only now. Blocks.

    Raises KeyExistsError, StorageError.
    """
    secret = Secret(_PREFIX + secrets.token_urlsafe(_SECRET_BYTES))
    digest = hashlib.sha256(secret.reveal().encode()).hexdigest()
    key = StoredKey(caller=caller, sha256=digest, created_at=time.time())
    try:
        with database.engine.begin() as connection:
            connection.execute(insert(api_keys), [_row(key)])
    except IntegrityError:
        raise KeyExistsError(f"there is or was a key with the name {caller.name!r}") from None
    return secret, key


def revoke_key(database: Database, name: str) -> bool:
    """Whether there was one that was not revoked yet. Blocks. Raises StorageError."""
    statement = (
        update(api_keys)
        .where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=micros(time.time()))
    )
    with database.begin() as connection:
        return bool(connection.execute(statement).rowcount)


def read_keys(database: Database) -> list[StoredKey]:
    """All of them, the revoked too, oldest first. Blocks. Raises StorageError."""
    with database.begin() as connection:
        rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at)).mappings()
        return [_key(row) for row in rows]


def _row(key: StoredKey) -> dict[str, Any]:
    caller, limits = key.caller, key.caller.limits
    models = None if caller.models is None else orjson.dumps(sorted(caller.models)).decode()
    expires = caller.expires_at
    return {
        "name": caller.name,
        "sha256": key.sha256,
        "models": models,
        "admin": caller.admin,
        "budget_usd": None if limits.budget_usd is None else str(limits.budget_usd),
        "window_s": limits.window_s,
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "created_at": micros(key.created_at),
        "expires_at": None if expires is None else micros(expires),
        "revoked_at": None,
    }


def _key(row: Mapping[str, Any] | Any) -> StoredKey:
    models, budget = row["models"], row["budget_usd"]
    limits = KeyLimits(
        None if budget is None else Decimal(budget),
        row["window_s"],
        row["requests_per_minute"],
        row["tokens_per_minute"],
    )
    caller = Caller(
        row["name"],
        None if models is None else frozenset(orjson.loads(models)),
        bool(row["admin"]),
        limits=limits,
        expires_at=_seconds(row["expires_at"]),
    )
    return StoredKey(
        caller=caller,
        sha256=row["sha256"],
        created_at=row["created_at"] / MICRO,
        revoked_at=_seconds(row["revoked_at"]),
    )


def _seconds(moment: int | None) -> float | None:
    return None if moment is None else moment / MICRO


def keys_version(database: Database) -> tuple[int, int, int]:
    """Changes whenever a key is created or revoked. Blocks. Raises StorageError."""
    query = select(
        func.count(), func.max(api_keys.c.created_at), func.max(api_keys.c.revoked_at)
    ).select_from(api_keys)
    with database.begin() as connection:
        row = connection.execute(query).one()
    return row[0], row[1] or 0, row[2] or 0
