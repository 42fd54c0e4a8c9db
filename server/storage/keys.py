"""API keys that were created by a command or by an admin. Only their SHA-256 is stored."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import orjson
from sqlalchemy import Connection, insert, update
from sqlalchemy.exc import IntegrityError

from server.auth.authenticator import Caller, KeyLimits
from server.config.secret import Secret
from server.storage.database import Database
from server.storage.rows import MICRO, micros
from server.storage.schema import api_keys

_LOG: Final = logging.getLogger(__name__)
_PREFIX: Final = "sk-p2l-"
_SECRET_BYTES: Final = 32
_COLUMNS: Final = tuple(column.name for column in api_keys.columns)


class KeyExistsError(Exception):
    """The name is taken, perhaps by a revoked key: spend is counted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """The terms of a stored key, without the key itself. Times in seconds since 1970."""

    caller: Caller
    sha256: str
    created_at: float
    revoked_at: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether the key is neither revoked nor expired."""
        expires = self.caller.expires_at
        return not self.is_revoked and (expires is None or expires > time.time())

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    def to_json(self) -> dict[str, Any]:
        """The key's terms as they are listed."""
        caller, limits = self.caller, self.caller.limits
        return {
            "object": "api_key",
            "name": caller.name,
            "admin": caller.admin,
            "models": None if caller.models is None else sorted(caller.models),
            "budget_usd": _text_of(limits.budget_usd),
            "window_s": limits.window_s,
            "max_request_usd": _text_of(limits.max_request_usd),
            "session_budget_usd": _text_of(limits.session_budget_usd),
            "requests_per_minute": limits.requests_per_minute,
            "tokens_per_minute": limits.tokens_per_minute,
            "shadow": caller.shadow,
            "created_at": self.created_at,
            "expires_at": caller.expires_at,
            "revoked_at": self.revoked_at,
        }


def create_key(database: Database, caller: Caller) -> tuple[Secret, StoredKey]:
    """Creates a key with these terms; the secret key is known only now. Blocks.

    Raises KeyExistsError, StorageError.
    """
    secret = Secret(_PREFIX + secrets.token_urlsafe(_SECRET_BYTES))
    digest = hashlib.sha256(secret.reveal().encode()).hexdigest()
    key = StoredKey(caller=caller, sha256=digest, created_at=time.time())
    taken = KeyExistsError(f"there is or was a key with the name {caller.name!r}")
    with database.naming():
        try:
            with database.engine.begin() as connection:
                connection.execute(insert(api_keys), [_row(key)])
        except IntegrityError:
            raise taken from None
    return secret, key


def change_key(database: Database, caller: Caller, terms: Collection[str]) -> bool:
    """Replaces these terms of a key by the caller's, by the names of their columns; returns whether
    there was such a key that is not revoked. The other terms stay, whoever changes them meanwhile.
    Blocks. Raises StorageError."""
    row = _terms_of(caller)
    statement = (
        update(api_keys)
        .where(api_keys.c.name == caller.name, api_keys.c.revoked_at.is_(None))
        .values({name: row[name] for name in terms})
    )
    with database.begin() as connection:
        return bool(connection.execute(statement).rowcount)


def revoke_key(database: Database, name: str) -> bool:
    """Revokes a key; returns whether there was one that was not revoked yet. Blocks. Raises
    StorageError."""
    statement = (
        update(api_keys)
        .where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=micros(time.time()))
    )
    with database.begin() as connection:
        return bool(connection.execute(statement).rowcount)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The stored keys. keys: all that can be read, including revoked ones, oldest first.
    unreadable: the names of the rows that cannot be read; their keys are invalid."""

    keys: tuple[StoredKey, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no key was ever stored, readable or not."""
        return not self.keys and not self.unreadable

    def named(self, name: str) -> StoredKey | None:
        """The key of this name, revoked or not."""
        return next((key for key in self.keys if key.caller.name == name), None)


def read_keys(database: Database) -> list[StoredKey]:
    """All keys that can be read, oldest first. Blocks. Raises StorageError."""
    return list(read_key_ring(database).keys)


def read_key_ring(database: Database) -> KeyRing:
    """The stored keys; a damaged row does not affect the others. Blocks. Raises StorageError."""
    query = f"SELECT {', '.join(_COLUMNS)} FROM api_keys ORDER BY created_at, name"  # noqa: S608
    with database.begin() as connection, _any_bytes(connection):
        # Raw values of the driver: a row that does not fit its types must not end the reading.
        rows = connection.exec_driver_sql(query).all()
    keys, unreadable = [], []
    for row in rows:
        try:
            keys.append(_key(dict(zip(_COLUMNS, row, strict=True))))
        except (ValueError, TypeError, ArithmeticError) as error:
            name = ascii(row[_COLUMNS.index("name")])
            _LOG.error(
                "the stored key %s cannot be read (%s): it does not work until its row is repaired",
                name,
                type(error).__name__,
            )
            unreadable.append(name)
    return KeyRing(tuple(keys), tuple(unreadable))


def keys_version(database: Database) -> str:
    """A digest of all rows: it differs after any change of any stored key, whatever the clocks say
    and whoever made the change. Blocks. Raises StorageError."""
    with database.begin() as connection:
        rows = connection.exec_driver_sql(_all_rows(database)).scalar()
    return hashlib.sha256(str(rows or "").encode()).hexdigest()


def _all_rows(database: Database) -> str:
    """A statement for all rows as one text; the database joins them, not the interpreter."""
    if not database.is_sqlite:
        rows = "string_agg(k::text, E'\\n' ORDER BY k.name)"
        return f"SELECT encode(sha256(convert_to({rows}, 'UTF8')), 'hex') FROM api_keys k"  # noqa: S608
    row = " || ',' || ".join(f"typeof({name}) || hex({name})" for name in _COLUMNS)
    return f"SELECT group_concat({row}, ';') FROM (SELECT * FROM api_keys ORDER BY name)"  # noqa: S608


@contextmanager
def _any_bytes(connection: Connection) -> Iterator[None]:
    """Reads text as bytes: SQLite can hold text that is not UTF-8, which would end the reading of
    all rows."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = str


def _row(key: StoredKey) -> dict[str, Any]:
    return {
        "name": key.caller.name,
        "sha256": key.sha256,
        **_terms_of(key.caller),
        "created_at": micros(key.created_at),
        "revoked_at": None,
    }


def _terms_of(caller: Caller) -> dict[str, Any]:
    """The columns of a key's terms, which can be changed."""
    limits = caller.limits
    models = None if caller.models is None else orjson.dumps(sorted(caller.models)).decode()
    expires = caller.expires_at
    return {
        "models": models,
        "admin": caller.admin,
        "budget_usd": _text_of(limits.budget_usd),
        "max_request_usd": _text_of(limits.max_request_usd),
        "session_budget_usd": _text_of(limits.session_budget_usd),
        "window_s": limits.window_s,
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "shadow": caller.shadow,
        "expires_at": None if expires is None else micros(expires),
    }


def _key(row: Mapping[str, Any]) -> StoredKey:
    """A key of a row. Raises ValueError, TypeError or ArithmeticError for an invalid row."""
    models = row["models"]
    limits = KeyLimits(
        _amount(row["budget_usd"]),
        _whole(row["window_s"]),
        _whole(row["requests_per_minute"]),
        _whole(row["tokens_per_minute"]),
        _amount(row["max_request_usd"]),
        _amount(row["session_budget_usd"]),
    )
    caller = Caller(
        _text(row["name"]),
        None if models is None else _names(models),
        _flag(row["admin"]),
        limits=limits,
        expires_at=_seconds(_whole(row["expires_at"])),
        # keys of older versions say nothing
        shadow=row["shadow"] is None or _flag(row["shadow"]),
    )
    sha256 = _text(row["sha256"])
    if len(bytes.fromhex(sha256)) != hashlib.sha256().digest_size:
        raise ValueError("sha256")
    return StoredKey(
        caller=caller,
        sha256=sha256,
        created_at=(_whole(row["created_at"]) or 0) / MICRO,
        revoked_at=_seconds(_whole(row["revoked_at"])),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # text that was not UTF-8 raises UnicodeEncodeError, a ValueError
    return value


def _names(value: Any) -> frozenset[str]:
    names = orjson.loads(_text(value))
    if not isinstance(names, list):
        raise TypeError
    return frozenset(_text(name) for name in names)


def _text_of(amount_usd: Decimal | None) -> str | None:
    return None if amount_usd is None else f"{amount_usd:f}"


def _amount(value: Any) -> Decimal | None:
    if value is None:
        return None
    amount = Decimal(_text(value))
    if not amount.is_finite() or amount < 0:
        raise ValueError
    return amount


def _whole(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 0):
        raise TypeError
    return value


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _seconds(moment: int | None) -> float | None:
    return None if moment is None else moment / MICRO
