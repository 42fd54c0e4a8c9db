"""Checks whether the configured services can be reached. No key is sent and nothing is spent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
from sqlalchemy import text

from p2l_model.errors import with_extra
from server.build import database_of, redis_url
from server.config.file import ConfigError
from server.config.ledger_place import ledger_place
from server.config.settings import ProviderSettings, Settings
from server.storage.errors import StorageError
from server.upstream.egress import address_rule
from server.upstream.kinds import address_of
from server.upstream.transport import build_transport

OK: Final = "ok"
_TIMEOUT_S: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}


def connections(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields (service, ok or the reason), one after the other. The model service is asked when the
    leaderboard's names are read."""
    yield "storage", _storage(settings, environ)
    url = redis_url(settings.redis, environ)
    if url is not None:
        yield "redis", _redis(url)
    used = {model.provider for model in settings.models.values()}
    for name, provider in settings.providers.items():
        if name in used and provider.kind != "sandbox":
            yield f"provider {name}", _provider(provider, environ)
    if settings.telemetry.otlp_endpoint is not None:
        yield "traces", _host(settings.telemetry.otlp_endpoint, environ)


def _storage(settings: Settings, environ: Mapping[str, str]) -> str:
    try:
        place = ledger_place(settings.storage, environ)
        if place is not None and not place.path.parent.exists():
            return _can_be_made(place.path.parent)
        database = database_of(settings.storage, environ)
        try:
            # A missing file is created by `serve`, not by this check.
            if database.path is None or database.path.exists():
                with database.begin() as connection:
                    connection.execute(text("SELECT 1"))
        finally:
            database.close()
    except (ConfigError, StorageError) as error:
        return str(error)
    return OK


def _can_be_made(folder: Path) -> str:
    """Whether the folder can be created; `serve` creates it, this check does not."""
    there = next(above for above in folder.parents if above.exists())
    if there.is_dir() and os.access(there, os.W_OK):
        return OK
    return f"storage.url: the folder {folder} cannot be made: {there} cannot be written"


def _redis(url: str) -> str:
    try:
        from redis import Redis
        from redis.exceptions import RedisError
    except ImportError:
        return f"redis.url needs the package redis: {with_extra('redis')}"
    try:
        with Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        ) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        return f"redis: {type(error).__name__}: {str(error).splitlines()[0]}"
    return OK


def _provider(provider: ProviderSettings, environ: Mapping[str, str]) -> str:
    url = address_of(provider)
    rule = address_rule(url, allow_private=provider.allow_private_addresses)
    return _host(url, environ, rule)


def _host(
    url: str, environ: Mapping[str, str], is_allowed: Callable[[str], bool] = lambda _: True
) -> str:
    """Connects as a request would: through the proxy in force, and for https with a handshake and a
    valid certificate."""
    parts = urlsplit(url)
    try:
        transport = build_transport(url, is_allowed=is_allowed, environ=environ)
        asyncio.run(transport.reach(url, _TIMEOUT_S))
    except (httpx.TransportError, ValueError) as error:
        place = f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"
        slow = "it did not answer in time, " if isinstance(error, httpx.ConnectTimeout) else ""
        return f"{place} cannot be reached: {slow}{error}"
    return OK
