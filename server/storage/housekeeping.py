"""What is done about the storage every now and then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from server.background import beside, in_thread
from server.storage.errors import StorageError
from server.storage.receipts import prune
from server.storage.recovery import Lost
from server.storage.responses import prune_responses
from server.storage.store import Store

_LOG: Final = logging.getLogger(__name__)
_BEAT_S: Final = 10.0
_SWEEP_S: Final = 30.0
_PRUNE_S: Final = 3600.0


@asynccontextmanager
async def kept_alive(store: Store, on_lost: Callable[[list[Lost]], None]) -> AsyncIterator[None]:
    """While the context lasts, the store's housekeeping is done in the background.

    on_lost: told of the attempts of processes that died, those found at the start first.
    """
    on_lost(store.lost)
    async with beside(_keep(store, on_lost)):
        yield


async def _keep(store: Store, on_lost: Callable[[list[Lost]], None]) -> None:
    swept = pruned = time.monotonic()
    while True:
        await asyncio.sleep(_BEAT_S)
        store.beat()
        now = time.monotonic()
        try:
            if now - swept >= _SWEEP_S:
                swept = now
                on_lost(await in_thread(store.close_stale))
            if now - pruned >= _PRUNE_S:
                pruned = now
                await in_thread(partial(_prune, store))
        except StorageError as error:
            _LOG.warning("storage: %s", error)


def _prune(store: Store) -> None:
    now = time.time()
    prune(store.database, store.receipts_days, now)
    prune_responses(store.database, store.responses_days, now)
