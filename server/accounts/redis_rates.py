"""Token buckets that several gateways share."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from server.accounts.redis_client import RedisClient
from server.storage.errors import StorageError

_LOG: Final = logging.getLogger(__name__)


class RedisRates:
    """Counts rates in Redis, by Redis' own clock."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._script = client.script("rate")
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, name: str, per_minute: int, amount: int) -> float:
        """Takes an amount. Returns 0.0 where the bucket has it, else the seconds until it will.
        Raises StorageError."""
        return await self._run(name, per_minute, amount, owe=False)

    def owe(self, name: str, per_minute: int, amount: int) -> None:
        """Takes the amount even where the bucket does not have it. If Redis cannot be reached at
        that moment, the amount is forgotten."""
        task = asyncio.create_task(self._owe(name, per_minute, amount))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Finishes the work in progress."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _owe(self, name: str, per_minute: int, amount: int) -> None:
        try:
            await self._run(name, per_minute, amount, owe=True)
        except StorageError as error:
            _LOG.warning("tokens could not be counted: %s", error)
        except Exception as error:
            _LOG.error("tokens could not be counted: %s", type(error).__name__)

    async def _run(self, name: str, per_minute: int, amount: int, *, owe: bool) -> float:
        key = self._client.key("rate", name)
        async with self._client.naming():
            wait_us = await self._script(keys=[key], args=[per_minute, amount, int(owe)])
        return int(wait_us) / 1e6
