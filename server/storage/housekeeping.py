"""What is done about the storage every now and then."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from server.background import Background, Job, in_thread
from server.storage.receipts import prune
from server.storage.recovery import Lost
from server.storage.responses import prune_responses
from server.storage.store import Store

_BEAT_S: Final = 10.0
# Others take a process that they have not seen for LOST_AFTER_S, a minute, for dead: before they
# do, it should get no more requests.
_BEAT_STALE_S: Final = 30.0
_SWEEP_S: Final = 30.0
_SWEEP_STALE_S: Final = 600.0
_PRUNE_S: Final = 3600.0
_PRUNE_STALE_S: Final = 6 * 3600.0


@asynccontextmanager
async def kept_alive(
    store: Store, background: Background, on_lost: Callable[[list[Lost]], None]
) -> AsyncIterator[None]:
    """While the context lasts, the store's housekeeping is done in the background.

    on_lost: told of the attempts of processes that died, those found at the start first.
    """
    on_lost(store.lost)
    async with AsyncExitStack() as stack:
        for job in _jobs(store, on_lost):
            await stack.enter_async_context(background.doing(job))
        yield


def _jobs(store: Store, on_lost: Callable[[list[Lost]], None]) -> tuple[Job, ...]:
    async def beat() -> None:
        store.beat()

    async def sweep() -> None:
        on_lost(await in_thread(store.close_stale))

    async def prune_old() -> None:
        await in_thread(partial(prune_all, store))

    return (
        Job(name="heartbeat", work=beat, every_s=_BEAT_S, stale_after_s=_BEAT_STALE_S, guards=True),
        Job(
            name="lost_attempts",
            work=sweep,
            every_s=_SWEEP_S,
            stale_after_s=_SWEEP_STALE_S,
            guards=True,
        ),
        Job(name="pruning", work=prune_old, every_s=_PRUNE_S, stale_after_s=_PRUNE_STALE_S),
    )


def prune_all(store: Store) -> None:
    """Deletes what is older than the configuration keeps. Blocks. Raises StorageError."""
    now = time.time()
    prune(store.database, store.receipts_days, now)
    prune_responses(store.database, store.responses_days, now)
