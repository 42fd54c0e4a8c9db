"""Keeps the running gateway's knowledge of stored keys up to date."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from server.auth import Authenticator
from server.background import beside, in_thread
from server.endpoints.common import State
from server.storage.errors import StorageError
from server.storage.keys import keys_version, read_keys

_LOG: Final = logging.getLogger(__name__)
_POLL_S: Final = 1.0


@asynccontextmanager
async def keys_kept_current(state: State) -> AsyncIterator[None]:
    """Reads the stored keys now and, while the context lasts, within a second of each change."""
    await refresh(state)
    async with beside(_keep(state)):
        yield


async def refresh(state: State) -> None:
    """Reads the stored keys. Raises StorageError."""
    keys = await in_thread(partial(read_keys, state.store.database))
    live = [(bytes.fromhex(key.sha256), key.caller) for key in keys if key.is_live]
    authenticator: Authenticator = state.authenticator
    authenticator.take_stored(live, any_stored=bool(keys))


async def _keep(state: State) -> None:
    database = state.store.database
    known: tuple[int, int, int] | None = None
    while True:
        await asyncio.sleep(_POLL_S)
        try:
            version = await in_thread(partial(keys_version, database))
            if version != known:
                await refresh(state)
                known = version
        except StorageError as error:
            # the keys known so far stay good
            _LOG.warning("stored keys cannot be read: %s", error)
