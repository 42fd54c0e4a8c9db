"""List prices kept current by genai-prices' own updater, where that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from server.background import beside
from server.settings.prices import PricesSettings


@asynccontextmanager
async def prices_kept_current(
    settings: PricesSettings, refresh: Callable[[], None]
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
    try:
        async with beside(_refresh_when_newer(settings.update_every_s, refresh)):
            yield
    finally:
        updater.stop()  # type: ignore[no-untyped-call]


async def _refresh_when_newer(every_s: float, refresh: Callable[[], None]) -> None:
    from genai_prices.data_snapshot import get_snapshot

    known = get_snapshot()
    while True:
        # the list is in memory: looking costs nothing, and no request waits for it
        await asyncio.sleep(min(every_s, 1.0))
        current = get_snapshot()
        if current is not known:
            known = current
            refresh()
