"""Watches the windows in which money was settled, and has alerts sent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import orjson

from server.accounts.accounts import Accounts
from server.alerts.levels import Alert, Reached
from server.alerts.sending import Sender, Target, target_of
from server.config.file import ConfigError
from server.config.settings import AlertSettings
from server.ledger.window import WindowSpec
from server.process.background import in_thread
from server.process.bugs import kind_and_place
from server.storage.errors import StorageError
from server.storage.states import put_state, read_state
from server.storage.store import Store

_LOG: Final = logging.getLogger("p2l_router")
# Settlements within this time are looked at together.
_TOGETHER_S: Final = 0.05
_MOST_SENDING: Final = 200
# After a failure, an alert is not tried again before this time: a receiver that refuses everything
# would otherwise be called for each request.
_PAUSE_S: Final = 600.0


class _Seen(NamedTuple):
    """spec: a window with news. hold: under which money was settled last. least: the nanodollars
    that a refused request needed; None: none was refused."""

    spec: WindowSpec
    hold: str
    least: int | None


class BudgetAlerts:
    """The alerts of one process. settings, accounts: those in force. Nothing is done for requests
    where no receiver is configured. on_sent: told delivered or failed of each alert."""

    def __init__(
        self,
        settings: Callable[[], AlertSettings],
        accounts: Callable[[], Accounts],
        store: Store,
        sender: Sender | None = None,
        pause_s: float = _PAUSE_S,
        on_sent: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._store = store
        self._sender = Sender(time.time) if sender is None else sender
        self._pause_s = pause_s
        self._on_sent = on_sent
        self._reached = Reached()
        self._seen: dict[str, _Seen] = {}
        self._news = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    def watch(self, spec: WindowSpec, hold: str, least: int | None) -> None:
        """Notes that money was settled in a window, or that it refused. Does not wait."""
        if not self._settings().is_on:
            return
        before = self._seen.get(spec.name)
        if least is None and before is not None:
            least = before.least
        self._seen[spec.name] = _Seen(spec, hold, least)
        self._news.set()

    async def run(self) -> None:
        """Looks at the windows with news for as long as it runs."""
        try:
            while True:
                await self._news.wait()
                await asyncio.sleep(_TOGETHER_S)
                self._news.clear()
                seen, self._seen = self._seen, {}
                for one in seen.values():
                    await self._looked(one)
        finally:
            for task in self._sending:
                task.cancel()
            # The database is closed next.
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def _looked(self, seen: _Seen) -> None:
        """Looks at one window. A failure is logged, and the next settlement looks again."""
        try:
            await self._look(seen)
        except (ConfigError, StorageError) as error:
            _LOG.error("budget alerts: %s", error)
        except Exception as error:
            _LOG.error("a budget could not be watched: %s", kind_and_place(error))

    async def _look(self, seen: _Seen) -> None:
        settings = self._settings()
        target = target_of(settings)
        if target is None:
            return
        spent = await self._accounts().settled_in(seen.spec, seen.hold)
        await self._recall(seen.spec)
        if len(self._sending) >= _MOST_SENDING:
            return  # nothing counts as told: the next settlement looks again
        due = self._reached.due(seen.spec, spent, seen.least, settings.at_percent, time.time())
        if due is not None:
            task = asyncio.create_task(self._send(due, target))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, alert: Alert, target: Target) -> None:
        try:
            if await self._told_by_another(alert):
                return
            if await self._sender.send(alert, target):
                self._on_sent("delivered")
                await self._remember(alert)
                return
            self._on_sent("failed")
        except Exception as error:
            _LOG.error("a budget alert failed: %s", kind_and_place(error))
        again = self._reached.forget
        asyncio.get_running_loop().call_later(self._pause_s, again, alert.spec, alert.percent)

    async def _recall(self, spec: WindowSpec) -> None:
        """Takes over what was told of a window before this process began. Raises StorageError."""
        if self._reached.knows(spec):
            return
        told = 0 if spec.session is not None else (await self._state(spec))[0]
        self._reached.told(spec, told)

    async def _told_by_another(self, alert: Alert) -> bool:
        """Whether another gateway has told of it in this period."""
        if alert.spec.session is not None:
            return False
        percent, period = await self._state(alert.spec)
        return period == alert.period and percent >= alert.percent

    async def _state(self, spec: WindowSpec) -> tuple[int, int]:
        """What was told of a window of this amount last: the percentage and the period; zeros where
        nothing was. Raises StorageError."""
        document = await in_thread(partial(read_state, self._store.database, _name(spec)))
        try:
            known = orjson.loads(document or "{}")
            if known.get("amount_nano") != spec.amount_nano:
                return 0, 0
            return int(known["percent"]), int(known["period"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return 0, 0

    async def _remember(self, alert: Alert) -> None:
        """Stores what was told of a window. Sessions are too many for that: after a restart, their
        alert may come again, with the same id."""
        spec = alert.spec
        if spec.session is not None:
            return
        known = {"amount_nano": spec.amount_nano, "percent": alert.percent, "period": alert.period}
        document = orjson.dumps(known).decode()
        database = self._store.database
        await in_thread(partial(put_state, database, _name(spec), document, time.time()))


def _name(spec: WindowSpec) -> str:
    return f"alert:{spec.name}"
