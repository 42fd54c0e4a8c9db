"""Keeps the gateway's stored keys up to date."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from server.auth.authenticator import Authenticator
from server.process.background import Job, in_thread
from server.state import State
from server.storage.keys import keys_version, read_key_ring

_POLL_S: Final = 1.0
# Ten polls in a row were missed: a revoked key may still be accepted.
_STALE_S: Final = 10.0


@asynccontextmanager
async def keys_kept_current(state: State) -> AsyncIterator[None]:
    """Reads the stored keys now and, within this context, within a second of each change. Raises
    StorageError."""
    poll = _Poll(state)
    await poll()
    job = Job(name="keys", work=poll, every_s=_POLL_S, stale_after_s=_STALE_S, guards=True)
    async with state.background.doing(job):
        yield


async def refresh(state: State) -> None:
    """Reads the stored keys. Raises StorageError."""
    # One after the other: an older reading must not replace a newer one.
    async with state.reading_keys:
        ring = await in_thread(partial(read_key_ring, state.store.database))
        live = [(bytes.fromhex(key.sha256), key.caller) for key in ring.keys if key.is_live]
        state.authenticator.take_stored(live, any_stored=not ring.is_empty)


class _Poll:
    """Reads the keys again where their rows have changed, or where a new configuration has brought
    an authenticator with older keys."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: tuple[str, Authenticator] | None = None

    async def __call__(self) -> None:
        state = self._state
        version = await in_thread(partial(keys_version, state.store.database))
        if (now := (version, state.authenticator)) != self._known:
            await refresh(state)
            self._known = now
