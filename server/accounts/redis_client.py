"""The connection to Redis and its scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from p2l_model.errors import with_extra
from server.config.file import ConfigError
from server.storage.errors import StorageError

if TYPE_CHECKING:
    from redis.asyncio import Redis

_TIMEOUT_S: Final = 2.0
_CONNECTIONS: Final = 32
# What a server says that is no master any more; scripts say it within another message.
_NO_MASTER: Final = ("READONLY", "MASTERDOWN", "read only replica")


class RedisClient:
    """A connection to Redis. prefix: of every key. All keys have one hash tag, so that a cluster
    keeps them together."""

    def __init__(self, url: str, prefix: str, timeout_s: float = _TIMEOUT_S) -> None:
        """Does not connect. timeout_s: how long a call waits for Redis. Raises ConfigError where
        the URL or the library cannot be used."""
        try:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise ConfigError(f"redis.url needs the package redis: {with_extra('redis')}") from None
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                # Tokens that are taken twice would count twice.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise ConfigError("redis.url must look like redis://host:6379/0") from None
        self.redis: Redis = Redis.from_pool(pool)
        self._prefix = f"{{{prefix}}}"

    def key(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{kind}:{name}"

    def script(self, *names: str) -> Any:
        """The scripts of these names, concatenated into one."""
        return self.redis.register_script("\n".join(_source(name) for name in names))

    async def first(self, name: str, own: str) -> bytes:
        """The value of a name; where it has none yet, it is set to `own`."""
        key = self.key("value", name)
        await self.redis.set(key, own, nx=True)
        found: bytes | None = await self.redis.get(key)
        return own.encode() if found is None else found

    @asynccontextmanager
    async def naming(self) -> AsyncIterator[None]:
        """Turns the library's errors into StorageError."""
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError) as error:
            if any(sign in str(error) for sign in _NO_MASTER):
                # The address leads to another server by now, but only for new connections.
                await self.redis.connection_pool.disconnect(inuse_connections=False)
            raise StorageError(f"redis: {type(error).__name__}") from None

    async def close(self) -> None:
        await self.redis.aclose()


def _source(name: str) -> str:
    return files("server.accounts").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
