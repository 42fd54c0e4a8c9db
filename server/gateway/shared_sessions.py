"""Sessions that several processes share, in Redis.

Each process goes on with its own memory: it asks Redis only for what it does not know, and writes
what has changed in the background. While Redis cannot be reached, nobody waits for it and no
request fails.

Keys are keyed hashes, and values hold no name of a caller or a session and no text. A process keeps
a bounded number of entries there, as in its own memory; each ends when it has not been written for
as long as a session lasts.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from server.accounts.purses import Purses
from server.accounts.redis_client import RedisClient
from server.gateway.prompt_cache import PromptCaches
from server.sessions.sessions import MOST_KEPT, Changed, Made, Missing, Session, Sessions
from server.sessions.stored import Form, Found, Names
from server.storage.errors import StorageError
from server.storage.session_rows import SESSION_KEY, session_key
from server.storage.store import Store

_LOG: Final = logging.getLogger(__name__)
# The longest that a request waits for Redis, in seconds. Then Redis is left alone for these pauses,
# one after the other, after each of which it is tried in the background.
TIMEOUT_S: Final = 0.5
_PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0)
_CLOSE_S: Final = 1.0
# How long the results of an unknown call wait until they are looked for once more, in seconds.
_LATE_S: Final = 0.03
# The number of entries that a process keeps in Redis, that wait to be written, and that are written
# at once.
_MOST_ENTRIES: Final = 2 * MOST_KEPT
_MOST_PENDING: Final = 10_000
_AT_ONCE: Final = 100
# The beginning of the keys of what providers hold of conversations.
_HELD: Final = b"held"


@asynccontextmanager
async def sessions_shared(
    ours: SharedSessions | None, store: Store, purses: Purses | None
) -> AsyncIterator[None]:
    """Shares sessions within this context, if anything is to be shared. Raises StorageError."""
    if ours is None:
        yield
        return
    await ours.start(await asyncio.to_thread(session_key, store.database))
    if purses is not None:
        await purses.prepare()
    try:
        yield
    finally:
        await ours.close()


class SharedSessions:
    """The sessions in Redis, and what providers hold of their conversations. own: the sessions of
    this process. clock: monotonic seconds. All methods but `put` are for the event loop."""

    def __init__(self, client: RedisClient, own: Sessions, clock: Callable[[], float]) -> None:
        self._ttl_s = 1
        self.failures = 0
        self._names: Names = tuple
        self._client = client
        self._own = own
        self._caches = PromptCaches()
        self._clock = clock
        self._form = Form(lambda: self._names())
        self._script = client.script("sessions")
        self._key = ""
        self._is_agreed = False
        self._n_failed = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: OrderedDict[bytes, Changed | bytes] = OrderedDict()
        self._written: OrderedDict[bytes, None] = OrderedDict()
        self._dropped: list[bytes] = []
        self._flushing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_up(self) -> bool:
        """Whether Redis could be reached when it was last tried."""
        return self._is_agreed and self._n_failed == 0

    def follow(self, names: Names, caches: PromptCaches, ttl_s: float) -> None:
        """Shares for another gateway from now on. names: of its leaderboards, in their order.
        caches: what it knows of providers. ttl_s: how many seconds an unused session lasts."""
        self._names, self._caches, self._ttl_s = names, caches, max(1, int(ttl_s))

    async def start(self, key: str) -> None:
        """Begins to share. key: the one that this process proposes for all hashes, in
        hexadecimal."""
        self._loop = asyncio.get_running_loop()
        self._use(key)
        self._own.on_change = self._caches.on_change = self.put
        try:
            await self._agree()
        except StorageError as error:
            self._failed(error)

    async def close(self) -> None:
        """Finishes the work in progress."""
        self._own.on_change = self._caches.on_change = None
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            await asyncio.wait([self._flushing], timeout=_CLOSE_S)
        await self._client.close()

    async def find(self, missing: Missing, opens: Session | None, tools: bytes) -> bool:
        """Takes in what other processes know of a request; returns whether there was anything.
        opens: the session that the name gets where it has none in any process; None: it gets none.
        tools: see Prefixes."""
        is_known, has_branch = await self._found(missing, opens, tools)
        if missing.links and not has_branch and self.is_up:
            # A fast client may be here before what the other process writes in the background.
            await asyncio.sleep(_LATE_S)
            _, has_branch = await self._found(missing._replace(name=None), None, tools)
        return is_known or has_branch

    async def _found(
        self, missing: Missing, opens: Session | None, tools: bytes
    ) -> tuple[bool, bool]:
        """Whether the name's session was found, and whether a branch was."""
        if not self.is_up:
            return False, False
        named = () if missing.name is None else (missing.name,)
        caches = tuple(_HELD + prefix + tools for prefix in missing.prefixes)
        keys = (*named, *missing.links, *missing.prefixes, *caches)
        try:
            values = await self._asked(keys, opens if named else None)
        except StorageError as error:
            self._failed(error)
            return False, False
        found = dict(zip(keys, values, strict=True))
        is_known = any(self._take_session(name, found[name], opens) for name in named)
        links = [self._take_link(link, found[link]) for link in missing.links]
        # The longest prefix that is known is the latest request of the conversation.
        has_prefix = any(self._take_prefix(one, found[one]) for one in missing.prefixes)
        for key in caches:
            if (value := found[key]) is not None:
                self._caches.take(key.removeprefix(_HELD), value)
        return is_known, has_prefix or any(links)

    def put(self, key: bytes, thing: Changed | bytes) -> None:
        """Writes an entry soon. Does not wait. For any thread. thing: as bytes, what providers hold
        of a conversation."""
        if isinstance(thing, bytes):
            key = _HELD + key
        self._pending[key] = thing
        if len(self._pending) > _MOST_PENDING:
            with suppress(KeyError):
                self._pending.popitem(last=False)
        if self._loop is not None and self._n_failed == 0:
            self._loop.call_soon_threadsafe(self._wake)

    async def _asked(self, keys: Sequence[bytes], opens: Session | None) -> Sequence[bytes | None]:
        """The values of keys, in one round trip. opens: see `find`. Raises StorageError."""
        places = [self._place(key) for key in keys]
        async with self._client.naming():
            if opens is None:
                values: list[bytes | None] = await self._client.redis.mget(places)
                return values
            value = self._form.of(opens)
            async with self._client.redis.pipeline(transaction=False) as pipeline:
                pipeline.set(places[0], value, nx=True, ex=self._ttl_s)
                pipeline.mget(places)
                answers: list[list[bytes | None]] = await pipeline.execute()
                return answers[1]

    def _take_session(self, name: bytes, value: bytes | None, opens: Session | None) -> bool:
        found = self._read(value)
        if found is None or (opens is not None and found.session.seed == opens.seed):
            return False
        self._own.take_session(name, found.session)
        return True

    def _take_link(self, link: bytes, value: bytes | None) -> bool:
        found = self._read(value)
        if found is None or found.branch is None:
            return False
        self._own.take_link(link, Made(found.branch, found.is_unsure))
        return True

    def _take_prefix(self, prefix: bytes, value: bytes | None) -> bool:
        found = self._read(value)
        if found is None or found.branch is None:
            return False
        self._own.take_prefix(prefix, found.branch)
        return True

    # In the background.

    def _wake(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        """Writes what is pending, and tries Redis where it could not be reached."""
        try:
            while self._pending or not self._is_agreed:
                if not self._is_agreed:
                    await self._agree()
                await self._write()
        except StorageError as error:
            self._failed(error)
        except Exception as error:
            # Nobody awaits this task: without a log line its failure would go unnoticed.
            _LOG.error("sessions could not be shared: %s", type(error).__name__)

    async def _agree(self) -> None:
        """Agrees with the other processes on the key of hashes. Raises StorageError."""
        async with self._client.naming():
            found = await self._client.first(SESSION_KEY, self._key)
        if self.failures > 0:
            _LOG.warning("redis: sessions are shared again")
        self._is_agreed, self._n_failed = True, 0
        self._use(found.decode())

    async def _write(self) -> None:
        """Writes some entries. Raises StorageError."""
        batch: list[tuple[bytes, Changed | bytes]] = []
        while self._pending and len(batch) < _AT_ONCE:
            batch.append(self._pending.popitem(last=False))
        if not batch:
            return
        args: list[object] = [self._ttl_s]
        for _, thing in batch:
            args += [_kind(thing), thing if isinstance(thing, bytes) else self._form.of(thing)]
        places = [self._place(key) for key, _ in batch]
        dropped, self._dropped = self._dropped, []
        try:
            async with self._client.naming():
                first = await self._script(keys=places, args=args)
                if dropped:
                    await self._client.redis.unlink(*map(self._place, dropped))
        except StorageError:
            for key, thing in batch:
                self._pending.setdefault(key, thing)
            raise
        self._note_written([key for key, _ in batch])
        for (key, _), value in zip(batch, first, strict=True):
            # Another process had given the name a session before.
            self._take_session(key, value or None, None)

    def _note_written(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            self._written[key] = None
            self._written.move_to_end(key)
        while len(self._written) > _MOST_ENTRIES:
            self._dropped.append(self._written.popitem(last=False)[0])

    def _failed(self, error: StorageError) -> None:
        if self._n_failed == 0:
            _LOG.warning("%s; this process knows its own sessions only, until it answers", error)
        self.failures += 1
        pause_s = _PAUSES_S[min(self._n_failed, len(_PAUSES_S) - 1)]
        self._n_failed += 1
        # Redis may have lost the key as well.
        self._is_agreed = False
        if self._loop is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(pause_s, self._wake)

    def _use(self, key: str) -> None:
        if key == self._key:
            return
        self._key = key
        self._pending.clear()
        self._own.rekey(_derived(key, b"sessions"))
        self._caches.rekey(_derived(key, b"conversations"))

    def _read(self, value: bytes | None) -> Found | None:
        if value is None:
            return None
        return self._form.read(value, self._own.known, self._clock())

    def _place(self, key: bytes) -> str:
        return self._client.key("session", key.hex())


def _kind(thing: Changed | bytes) -> bytes:
    """The kind of an entry, see sessions.lua."""
    if isinstance(thing, Session):
        return b"s"
    return b"c" if isinstance(thing, Made) else b"b"


def _derived(key: str, use: bytes) -> bytes:
    return hashlib.blake2b(use, key=bytes.fromhex(key)).digest()[:32]
