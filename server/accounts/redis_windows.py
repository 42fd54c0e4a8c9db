"""Windows that several gateways share, in Redis. Every step is one script, and so atomic.

Redis may lose its data. Each window records which database's history and which gateways'
reservations it holds; a gateway that finds its own missing restores them, from its ledger and from
its entries in progress. Spend that is booked meanwhile may count twice for the length of the
window, but is never lost. Redis must not evict (maxmemory-policy noeviction). While it cannot be
reached, requests that a window bounds are refused.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar

from server.accounts.history import spent_slices
from server.accounts.pacer import Pacer
from server.accounts.redis_client import RedisClient
from server.accounts.windows import OnSession
from server.ledger.window import NEVER_S, SHARE, SOON_S, Balance, Short, Wanted, WindowSpec
from server.storage.errors import StorageError
from server.storage.rows import micros
from server.storage.states import database_id
from server.storage.store import Store

_LOG: Final = logging.getLogger(__name__)
# Longer than any request; a process that holds money longer than this has died.
_LEASE_US: Final = 2 * 3600 * 1_000_000
_LOADS: Final = 5
_RETRY_S: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
# The seconds for which Redis remembers a settlement: longer than it is tried.
_REMEMBERED_S: Final = 120
_CLOSE_S: Final = 10.0
# The seconds for which a caller waits for its cost to be counted, and the seconds for which an
# unused session is kept.
_BOOKED_S: Final = 1.0
_SESSION_S: Final = 3 * 86_400
_MOST_UNSURE: Final = 10_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Settlement:
    """A settlement. name: its own name, under which it is booked once, however often it is sent:
    Redis may do what it was asked and not say so."""

    hold: str
    spec: WindowSpec
    cost: int
    only_if_held: bool = False
    only_if_loaded: bool = False
    name: str = field(default_factory=lambda: os.urandom(8).hex())


class RedisWindows:
    """Counts windows in Redis. store: the store from which the history of a window is read."""

    def __init__(self, client: RedisClient, store: Store, pacer: Pacer) -> None:
        self.on_session: OnSession | None = None
        self._client = client
        self._store = store
        self._pacer = pacer
        self._reserve = client.script("common", "reserve")
        self._settle = client.script("common", "settle")
        self._load = client.script("common", "load")
        self._balance = client.script("common", "balance")
        self._database_id: str | None = None
        self._held: dict[str, dict[str, int]] = {}
        self._spent: dict[str, int] = {}
        # The settlements of sessions in progress, by name and window.
        self._settling: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._loading = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        # Hold -> its windows, where Redis failed during the call: the money may be reserved.
        self._unsure: dict[str, Sequence[WindowSpec]] = {}
        # Settlements that Redis has not taken for as long as they were tried.
        self._late: list[_Settlement] = []

    async def reserve(self, hold: str, specs: Sequence[WindowSpec], wanted: Wanted) -> int | Short:
        """Reserves. Returns the nanodollars reserved in every window, or why nothing was
        reserved."""
        # This must not be interrupted: a caller that gives up settles, which must come afterwards.
        task = self._kept(asyncio.create_task(self._reserved(hold, specs, wanted)))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: self._give_back(done, hold, specs))
            raise

    def settle(self, hold: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Releases the hold and books its cost in nanodollars."""
        for spec in specs:
            task = self._spawn(_Settlement(hold, spec, cost))
            if spec.session is not None:
                name = hold, spec.name
                self._settling[name] = task
                task.add_done_callback(partial(self._forget, name))

    def book(self, name: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Books the cost of an attempt, in nanodollars, in windows that held nothing for it."""
        for spec in specs:
            self._spawn(_Settlement(name, spec, cost, only_if_loaded=True))

    def spent(self, spec: WindowSpec) -> int:
        """Nanodollars settled in the window, as of this process' last settlement."""
        return self._spent.get(spec.name, 0)

    async def balance(self, spec: WindowSpec) -> Balance:
        """The balance as all processes know it."""
        args = [await self._database(), self._store.instance, spec.slice_us]
        for _ in range(_LOADS):
            async with self._client.naming():
                found = await self._balance(keys=[self._key(spec)], args=args)
            if found:
                return Balance(int(found[0]), int(found[1]))
            await self._put_back(spec)
        raise StorageError("redis: a window could not be loaded")

    def settle_lost(self, hold: str, specs: Sequence[WindowSpec], cost: int) -> None:
        """Settles an attempt of a process that died, if its reservation still exists."""
        for spec in specs:
            self._spawn(_Settlement(hold, spec, cost, only_if_held=True))

    async def agreed(self, name: str, own: str) -> str:
        """A value on which all gateways that share this Redis agree."""
        async with self._client.naming():
            found = await self._client.first(name, own)
        return found.decode()

    async def booked(self, hold: str, spec: WindowSpec) -> None:
        """Waits briefly until what was settled under the name is counted."""
        task = self._settling.get((hold, spec.name))
        if task is not None:
            await asyncio.wait([task], timeout=_BOOKED_S)

    async def close(self) -> None:
        """Finishes the work in progress."""
        # An abandoned reservation is released by a task of its own.
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        await self._client.close()

    async def _reserved(
        self, hold: str, specs: Sequence[WindowSpec], wanted: Wanted
    ) -> int | Short:
        for _ in range(_LOADS):
            try:
                answer = await self._ask(hold, specs, wanted)
            except StorageError:
                self._note_unsure(hold, specs)
                raise
            self._unsure.pop(hold, None)  # an earlier try of this one
            self._give_back_unsure()
            if answer[0] == b"ok":
                granted = int(answer[1])
                for spec in specs:
                    self._held.setdefault(spec.name, {})[hold] = granted
                return granted
            spec = specs[int(answer[1]) - 1]
            if answer[0] == b"short":
                return Short(spec, int(answer[2]), _wait_s(spec, int(answer[3]), wanted))
            await self._put_back(spec)
        raise StorageError("redis: a window could not be loaded")

    async def _ask(self, hold: str, specs: Sequence[WindowSpec], wanted: Wanted) -> Any:
        terms = [
            hold, wanted.least, wanted.comfort, wanted.most, SHARE, _LEASE_US,
            await self._database(), self._store.instance,
        ]  # fmt: skip
        for spec in specs:
            terms += [spec.amount_nano, spec.slice_us, _ttl_s(spec)]
        async with self._client.naming():
            return await self._reserve(keys=[self._key(spec) for spec in specs], args=terms)

    def _give_back(
        self, done: asyncio.Future[int | Short], hold: str, specs: Sequence[WindowSpec]
    ) -> None:
        if not done.cancelled() and done.exception() is None and isinstance(done.result(), int):
            self.settle(hold, specs, 0)

    def _note_unsure(self, hold: str, specs: Sequence[WindowSpec]) -> None:
        if len(self._unsure) < _MOST_UNSURE:
            self._unsure[hold] = specs

    def _give_back_unsure(self) -> None:
        """Releases uncertain holds once Redis answers again: nothing was sent for them. Late
        settlements are tried again: one that Redis took after all holds nothing any more."""
        while self._unsure:
            hold, specs = self._unsure.popitem()
            self.settle_lost(hold, specs, 0)
        late, self._late = self._late, []
        for settlement in late:
            self._spawn(replace(settlement, only_if_held=True))

    def _spawn(self, settlement: _Settlement) -> asyncio.Task[None]:
        return self._kept(asyncio.create_task(self._settled(settlement)))

    def _kept(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _settled(self, settlement: _Settlement) -> None:
        for pause_s in _RETRY_S:
            try:
                spent = await self._settle_once(settlement)
            except StorageError as error:
                _LOG.warning("%s; the settlement will be tried again", error)
                await asyncio.sleep(pause_s)
            except Exception as error:
                # Nobody awaits this task: without a log line its failure would go unnoticed.
                _LOG.error("redis: the settlement will be tried again: %s", type(error).__name__)
                await asyncio.sleep(pause_s)
            else:
                self._let_go(settlement)
                if spent is None:
                    return
                if settlement.spec.session is not None:
                    if self.on_session is not None:
                        self.on_session(settlement.spec.session, spent)
                    return
                self._spent[settlement.spec.name] = spent
                self._pacer.settled(settlement.spec, spent)
                return
        _LOG.error("redis: a settlement could not be recorded")
        self._let_go(settlement)
        # Its reservation would stand until the lease ends, and then count in full.
        if not settlement.only_if_loaded and len(self._late) < _MOST_UNSURE:
            self._late.append(settlement)

    def _forget(self, name: tuple[str, str], _: asyncio.Task[None]) -> None:
        self._settling.pop(name, None)

    def _let_go(self, settlement: _Settlement) -> None:
        name = settlement.spec.name
        held = self._held.get(name, {})
        held.pop(settlement.hold, None)
        if not held and settlement.spec.session is not None:
            # The number of sessions has no bound.
            self._held.pop(name, None)

    async def _settle_once(self, settlement: _Settlement) -> int | None:
        """Books a settlement; returns the window's spend, or None where it need not be loaded for
        this."""
        spec = settlement.spec
        args = [
            settlement.hold, settlement.cost, await self._database(),
            int(settlement.only_if_held), spec.slice_us, _ttl_s(spec), _REMEMBERED_S,
        ]  # fmt: skip
        keys = [self._key(spec), self._client.key("settlement", settlement.name)]
        for _ in range(_LOADS):
            async with self._client.naming():
                spent = int(await self._settle(keys=keys, args=args))
            if spent >= 0:
                return spent
            if settlement.only_if_loaded:
                return None
            await self._put_back(spec)
        raise StorageError("redis: a window could not be loaded")

    async def _put_back(self, spec: WindowSpec) -> None:
        """Restores what Redis has lost: the ledger's history, and this gateway's reservations."""
        async with self._loading:
            if not await self._store.flush():
                raise StorageError("the history of a window cannot be read")
            slices = await asyncio.to_thread(self._history, spec)
            held = self._held.get(spec.name, {})
            args: list[Any] = [
                await self._database(), self._store.instance, _LEASE_US, _ttl_s(spec),
                spec.slice_us, len(slices),
            ]  # fmt: skip
            for pair in (*slices, *held.items()):
                args += pair
            async with self._client.naming():
                await self._load(keys=[self._key(spec)], args=args)

    def _history(self, spec: WindowSpec) -> list[tuple[int, int]]:
        self._pacer.load(spec)
        return spent_slices(self._store.database, spec, micros(time.time()))

    async def _database(self) -> str:
        if self._database_id is None:
            self._database_id = await asyncio.to_thread(database_id, self._store.database)
        return self._database_id

    def _key(self, spec: WindowSpec) -> str:
        return self._client.key("window", spec.name)


def _wait_s(spec: WindowSpec, wait_us: int, wanted: Wanted) -> float:
    if spec.window_s is None or wanted.least > spec.amount_nano:
        return NEVER_S
    return SOON_S if wait_us < 0 else wait_us / 1e6


def _ttl_s(spec: WindowSpec) -> int:
    """The seconds for which an unused window is kept; 0: for ever."""
    if spec.session is not None:
        return _SESSION_S
    return 0 if spec.window_s is None else 2 * spec.window_s + 3600
