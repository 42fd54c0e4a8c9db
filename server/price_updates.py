"""List prices kept current by genai-prices' own updater, where that is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from router.catalog import ModelCard
from server.background import Background, Job, in_thread
from server.settings.prices import PricesSettings

if TYPE_CHECKING:
    from genai_prices import UpdatePrices

# A few fetches may fail: old prices are better than none.
_STALE_S: Final = 600.0


@asynccontextmanager
async def prices_kept_current(
    settings: PricesSettings, background: Background, refresh: Callable[[], None]
) -> AsyncIterator[None]:
    """While it is open, newer lists are fetched in a thread of genai-prices' and refresh is called
    after each. A list that cannot be had leaves the prices as they are."""
    if not settings.update:
        yield
        return
    from genai_prices import UpdatePrices
    from genai_prices.update_prices import DEFAULT_UPDATE_URL

    url = settings.update_url or DEFAULT_UPDATE_URL
    updater = UpdatePrices(update_interval=settings.update_every_s, url=url)
    updater.start()
    job = Job(
        name="prices",
        work=_Follow(updater, refresh),
        # the list is in memory: looking costs nothing, and no request waits for it
        every_s=min(settings.update_every_s, 1.0),
        stale_after_s=3 * settings.update_every_s + _STALE_S,
    )
    try:
        async with background.doing(job):
            yield
    finally:
        updater.stop()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def hours_followed(
    background: Background,
    read: Callable[[], tuple[ModelCard, ...]],
    serve: Callable[[tuple[ModelCard, ...]], None],
    every_s: float = 60.0,
) -> AsyncIterator[None]:
    """While it is open, prices of certain hours, and those that begin on a day, come into force
    within every_s. read: the catalogue as it is now; it is read in a thread. serve: puts it in
    force, where it differs from the one before."""
    known: list[tuple[ModelCard, ...]] = []

    async def follow() -> None:
        cards = await in_thread(read)
        if known[-1:] != [cards]:
            serve(cards)
            known[:] = [cards]

    job = Job(name="price hours", work=follow, every_s=every_s, stale_after_s=10 * every_s)
    async with background.doing(job):
        yield


class _Follow:
    """Puts a newer list in force. Raises what the last fetch failed with, as long as it stands."""

    def __init__(self, updater: UpdatePrices, refresh: Callable[[], None]) -> None:
        from genai_prices.data_snapshot import get_snapshot

        self._snapshot: Callable[[], Any] = get_snapshot
        self._updater = updater
        self._refresh = refresh
        self._known = get_snapshot()

    async def __call__(self) -> None:
        current = self._snapshot()
        if current is not self._known:
            self._refresh()
            # only now: what could not be put in force is tried again
            self._known = current
        self._updater.wait(0)
