"""Keeps list prices current by genai-prices' own updater, where that is configured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from router.catalog import ModelCard
from server.config.settings.prices import PricesSettings
from server.process.background import Background, Job, in_thread

if TYPE_CHECKING:
    from genai_prices import UpdatePrices

# A few fetches may fail: old prices are better than none.
_STALE_S: Final = 600.0
# The list is in memory: checking it costs nothing, and no request waits for it.
_LOOK_S: Final = 1.0
# While no list is fetched, a new configuration may ask for it.
_IDLE_S: Final = 5.0


@asynccontextmanager
async def prices_kept_current(
    settings: Callable[[], PricesSettings], background: Background, refresh: Callable[[], None]
) -> AsyncIterator[None]:
    """Within this context, newer lists are fetched in a thread of genai-prices', as the current
    settings say, and refresh is called after each. If a list cannot be fetched, the prices stay as
    they are."""
    follow = _Follow(settings, refresh)
    job = Job(
        name="prices",
        work=follow,
        every_s=lambda: _pause_s(settings()),
        stale_after_s=lambda: 3 * settings().update_every_s + _STALE_S,
        at_once=True,
    )
    try:
        async with background.doing(job):
            yield
    finally:
        follow.stop()


@asynccontextmanager
async def hours_followed(
    background: Background,
    read: Callable[[], tuple[ModelCard, ...]],
    serve: Callable[[tuple[ModelCard, ...]], None],
    every_s: float = 60.0,
) -> AsyncIterator[None]:
    """Within this context, prices for certain hours, and those that begin on a day, come into force
    within every_s seconds. read: returns the current catalogue; called in a thread. serve: puts a
    catalogue into force, where it differs from the previous one."""
    known: list[tuple[ModelCard, ...]] = []

    async def follow() -> None:
        cards = await in_thread(read)
        if known[-1:] != [cards]:
            serve(cards)
            known[:] = [cards]

    job = Job(name="price hours", work=follow, every_s=every_s, stale_after_s=10 * every_s)
    async with background.doing(job):
        yield


def _pause_s(settings: PricesSettings) -> float:
    return min(settings.update_every_s, _LOOK_S) if settings.update else _IDLE_S


class _Follow:
    """Puts a newer list into force. Raises the error of the last fetch until a fetch succeeds."""

    def __init__(self, settings: Callable[[], PricesSettings], refresh: Callable[[], None]) -> None:
        self._settings = settings
        self._refresh = refresh
        self._followed = PricesSettings()
        self._updater: UpdatePrices | None = None
        self._known: Any = None

    async def __call__(self) -> None:
        settings = self._settings()
        if settings != self._followed:
            self.stop()
            if settings.update:
                self._start(settings)
            self._followed = settings
        if self._updater is not None:
            self._look(self._updater)

    def stop(self) -> None:
        """Stops fetching; the last list stays in force."""
        if self._updater is not None:
            self._updater.stop()  # type: ignore[no-untyped-call]
            self._updater = None

    def _start(self, settings: PricesSettings) -> None:
        from genai_prices import UpdatePrices
        from genai_prices.data_snapshot import get_snapshot
        from genai_prices.update_prices import DEFAULT_UPDATE_URL

        self._known = get_snapshot()
        url = settings.update_url or DEFAULT_UPDATE_URL
        self._updater = UpdatePrices(update_interval=settings.update_every_s, url=url)
        self._updater.start()

    def _look(self, updater: UpdatePrices) -> None:
        from genai_prices.data_snapshot import get_snapshot

        current = get_snapshot()
        if current is not self._known:
            self._refresh()
            # Only now: a list that could not be put into force is tried again.
            self._known = current
        updater.wait(0)
