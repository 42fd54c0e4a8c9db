"""Can what the configuration names be reached from here? No key is sent and nothing is spent."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import text

from server.build import database_of, redis_url
from server.config_file import ConfigError
from server.settings import ProviderSettings, Settings
from server.storage.errors import StorageError
from server.upstream.anthropic.upstream import BASE_URL as ANTHROPIC
from server.upstream.gemini.upstream import BASE_URL as GEMINI

OK: Final = "ok"
_TIMEOUT_S: Final = 5.0
_HOSTS: Final = {"anthropic": ANTHROPIC, "gemini": GEMINI}
_PORTS: Final = {"http": 80, "https": 443}


def connections(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(what, ok or why not), one after the other. The model service is asked when the leaderboard's
    names are."""
    yield "storage", _storage(settings, environ)
    url = redis_url(settings.redis, environ)
    if url is not None:
        yield "redis", _redis(url)
    used = {model.provider for model in settings.models.values()}
    for name, provider in settings.providers.items():
        if name in used and provider.kind != "sandbox":
            yield f"provider {name}", _provider(provider)
    if settings.telemetry.otlp_endpoint is not None:
        yield "traces", _host(settings.telemetry.otlp_endpoint)


def _storage(settings: Settings, environ: Mapping[str, str]) -> str:
    try:
        database = database_of(settings.storage, environ)
        try:
            # a file that is not there yet is made by serve, not by looking
            if database.path is None or database.path.exists():
                with database.begin() as connection:
                    connection.execute(text("SELECT 1"))
        finally:
            database.close()
    except (ConfigError, StorageError) as error:
        return str(error)
    return OK


def _redis(url: str) -> str:
    try:
        from redis import Redis
        from redis.exceptions import RedisError
    except ImportError:
        return "redis.url needs: pip install 'p2l-router[redis]'"
    try:
        with Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        ) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        return f"redis: {type(error).__name__}: {str(error).splitlines()[0]}"
    return OK


def _provider(provider: ProviderSettings) -> str:
    return _host(provider.base_url or _HOSTS[provider.kind])


def _host(url: str) -> str:
    """A connection, and for https a handshake with a certificate that is good."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as connection:
            if parts.scheme == "https":
                context = ssl.create_default_context()
                with context.wrap_socket(connection, server_hostname=host):
                    return OK
    except OSError as error:
        return f"{host}:{port} cannot be reached: {error.strerror or error}"
    return OK
