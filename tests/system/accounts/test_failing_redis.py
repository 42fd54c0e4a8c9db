"""A Redis that falls silent, fails over, or whose clock is set: no cost is counted twice or lost,
and the gateway goes on by itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import pytest
from redis.asyncio import Redis
from services import RedisServer, redis_server

from server.accounts import redis_windows
from server.accounts.pacer import Pacer
from server.accounts.redis_client import RedisClient
from server.accounts.redis_windows import RedisWindows
from server.config.settings import StorageSettings
from server.ledger.window import Short, Wanted, WindowSpec
from server.storage.database import Database
from server.storage.errors import StorageError
from server.storage.store import Store

pytestmark = [pytest.mark.anyio, pytest.mark.services]
SPEC = WindowSpec(None, 1_000_000, 3600)
TOTAL = WindowSpec("team", 1_000_000, None)
BOTH = [SPEC, TOTAL]
SHORT_S = 0.2


def wanted(amount: int) -> Wanted:
    return Wanted(amount, amount, amount)


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A Redis that the test may do anything to."""
    with redis_server() as server:
        yield server


@asynccontextmanager
async def windows_at(url: str, folder: Path) -> AsyncIterator[RedisWindows]:
    database = f"sqlite:///{folder}/p2l.db"
    store = Store(Database(database), StorageSettings(url=database))
    store.start()
    windows = RedisWindows(RedisClient(url, "t", SHORT_S), store, Pacer(store))
    try:
        yield windows
    finally:
        await windows.close()
        store.close()


async def done(windows: RedisWindows) -> None:
    while windows._tasks:
        await asyncio.wait(windows._tasks)


async def left_in(windows: RedisWindows, spec: WindowSpec) -> int:
    short = await windows.reserve("probe", [spec], wanted(2**61))
    assert isinstance(short, Short)
    return short.available


@pytest.mark.parametrize("way", ["settle", "book", "settle_lost"])
async def test_a_cost_that_was_booked_without_an_answer_is_booked_once(
    own: RedisServer, tmp_path: Path, way: str
) -> None:
    async with windows_at(own.url, tmp_path) as windows:
        # It knows the scripts by now, and each window has a connection.
        await windows.reserve("r0:1", BOTH, wanted(1))
        windows.settle("r0:1", BOTH, 0)
        await done(windows)
        assert await windows.reserve("r1:1", BOTH, wanted(400_000)) == 400_000
        own.signal(signal.SIGSTOP)
        # What it is sent meanwhile, it does once it goes on, for a caller who has tried again.
        getattr(windows, way)("r1:1", BOTH, 100_000)
        await asyncio.sleep(3 * SHORT_S)
        own.signal(signal.SIGCONT)
        await done(windows)
        assert [await left_in(windows, spec) for spec in BOTH] == [900_000] * 2


async def test_what_was_given_up_before_it_was_settled_costs_what_it_cost(
    own: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the clock of Redis is set forward by hours: every reservation is too old at once."""
    monkeypatch.setattr(redis_windows, "_LEASE_US", 1_000)
    async with windows_at(own.url, tmp_path) as windows:
        assert await windows.reserve("r1:1", BOTH, wanted(400_000)) == 400_000
        assert await windows.reserve("r2:1", BOTH, wanted(300_000)) == 300_000
        await asyncio.sleep(0.01)
        # nobody has settled them so far: they may have cost all
        assert [await left_in(windows, spec) for spec in BOTH] == [300_000] * 2
        windows.settle("r1:1", BOTH, 100_000)
        windows.settle_lost("r2:1", BOTH, 50_000)
        await done(windows)
        assert [await left_in(windows, spec) for spec in BOTH] == [850_000] * 2
        balance = await windows.balance(SPEC)
        assert (balance.spent, balance.reserved) == (150_000, 0)


async def test_who_was_taken_for_dead_and_lives_books_what_it_cost(
    own: RedisServer, tmp_path: Path
) -> None:
    """As when the process was suspended, or a clock was set forward: no one has seen it lately."""
    async with windows_at(own.url, tmp_path) as windows:
        assert await windows.reserve("r1:1", BOTH, wanted(400_000)) == 400_000
        windows.settle_lost("r1:1", BOTH, 150_000)
        await done(windows)
        assert [await left_in(windows, spec) for spec in BOTH] == [850_000] * 2
        windows.settle("r1:1", BOTH, 100_000)
        await done(windows)
        assert [await left_in(windows, spec) for spec in BOTH] == [900_000] * 2


async def test_what_could_not_be_settled_for_long_is_settled_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be held until its lease ends, and then count in full."""
    monkeypatch.setattr(redis_windows, "_RETRY_S", (0.01, 0.01))
    with redis_server(keeps=True) as server:
        async with windows_at(server.url, tmp_path) as windows:
            assert await windows.reserve("r1:1", BOTH, wanted(400_000)) == 400_000
            server.stop()
            windows.settle("r1:1", BOTH, 100_000)
            await done(windows)
            server.start()
            assert await windows.reserve("r2:1", BOTH, wanted(1)) == 1
            await done(windows)
            assert [await left_in(windows, spec) for spec in BOTH] == [899_999] * 2


@pytest.mark.slow
async def test_while_redis_loads_it_cannot_be_reached_and_nothing_is_lost(tmp_path: Path) -> None:
    """A Redis that has been restarted answers LOADING until it has read all that it kept."""
    with redis_server(keeps=True) as server:
        async with windows_at(server.url, tmp_path) as windows:
            assert await windows.reserve("r1:1", BOTH, wanted(400_000)) == 400_000
            async with Redis.from_url(server.url) as redis, redis.pipeline() as pipeline:
                for number in range(20_000):
                    pipeline.set(f"another's {number}", 1)
                await pipeline.execute()
            server.stop()
            # of each command that is read again; clients are answered after every 1,024 of them
            server.begin("--key-load-delay", "100")
            refusal = "not yet"
            while "BusyLoadingError" not in refusal:
                refusal = await refusal_of(windows, "r2:1")
                assert refusal, "it has loaded all before it was asked"
            windows.settle("r1:1", BOTH, 100_000)
            while refusal:
                refusal = await refusal_of(windows, "r2:1")
            await done(windows)
            assert [await left_in(windows, spec) for spec in BOTH] == [899_999] * 2


async def refusal_of(windows: RedisWindows, hold: str) -> str:
    """What is said where nothing can be reserved; nothing where one nanodollar is."""
    try:
        assert await windows.reserve(hold, BOTH, wanted(1)) == 1
    except StorageError as error:
        return str(error)
    return ""


class Forwarder:
    """An address that stays while the server behind it changes, like a name in DNS: connections
    that are open stay where they are."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.url = ""
        self.n_connections = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
            yield self
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(_pipe(reader, to_writer), _pipe(to_reader, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while content := await reader.read(65_536):
            writer.write(content)
            await writer.drain()
    writer.close()


async def test_after_a_failover_the_new_master_is_asked(own: RedisServer, tmp_path: Path) -> None:
    with redis_server() as other:
        async with (
            Redis.from_url(own.url) as old,
            Redis.from_url(other.url) as new,
            Forwarder(own.port).running() as address,
        ):
            await new.replicaof("127.0.0.1", str(own.port))
            async with windows_at(address.url, tmp_path) as windows:
                assert await windows.reserve("r1:1", BOTH, wanted(400_000)) == 400_000
                await old.wait(1, 10_000)
                address.target = other.port
                await new.replicaof("NO", "ONE")
                await old.replicaof("127.0.0.1", str(other.port))
                # The old master still has our connections, and refuses to write.
                with pytest.raises(StorageError, match="ReadOnly"):
                    await windows.reserve("r2:1", BOTH, wanted(1))
                assert await windows.reserve("r3:1", BOTH, wanted(1)) == 1
                windows.settle("r1:1", BOTH, 100_000)
                await done(windows)
                assert [await left_in(windows, spec) for spec in BOTH] == [899_999] * 2
