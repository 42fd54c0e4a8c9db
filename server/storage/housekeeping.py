"""The periodic work of the storage."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from server.process.background import Background, Job, in_thread
from server.storage.pruning import delete_older, in_batches
from server.storage.recovery import Lost
from server.storage.schema import feedback, grades, prompts, receipts, responses
from server.storage.store import Store
from server.storage.totals import fold_attempts

_BEAT_S: Final = 10.0
# Other gateways take a process that they have not seen for LOST_AFTER_S, a minute, for dead: before
# that, it should get no more requests.
_BEAT_STALE_S: Final = 30.0
_SWEEP_S: Final = 30.0
_SWEEP_STALE_S: Final = 600.0
# A gateway that is restarted every hour must reach it too.
_PRUNE_S: Final = 600.0
_PRUNE_STALE_S: Final = 6 * 3600.0


@asynccontextmanager
async def kept_alive(
    store: Store, background: Background, on_lost: Callable[[list[Lost]], None]
) -> AsyncIterator[None]:
    """Within this context, the store's housekeeping runs in the background.

    on_lost: called with the attempts of processes that died, first with those found at the start.
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
        await prune_all(store)

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


async def prune_all(store: Store) -> None:
    """Deletes records that are older than the configuration allows. Raises StorageError."""
    now, kept, database = time.time(), store.settings, store.database
    for table, days in (
        (receipts, kept.receipts_days),
        (prompts, kept.receipts_days),
        (responses, kept.responses_days),
        (feedback, kept.feedback_days),
        (grades, kept.feedback_days),
    ):
        await in_batches(partial(delete_older, database, table, days, now))
    await in_batches(partial(fold_attempts, database, kept.attempts_days, now))
