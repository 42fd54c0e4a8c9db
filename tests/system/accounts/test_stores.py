"""The stores of windows and rates, in memory and in Redis: the same promises."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis
from services import RedisServer, redis_server

from server.accounts.pacer import Pacer
from server.accounts.rates import MemoryRates, Rates
from server.accounts.redis_client import RedisClient
from server.accounts.redis_rates import RedisRates
from server.accounts.redis_windows import RedisWindows
from server.accounts.windows import MemoryWindows, Windows
from server.config.settings import StorageSettings
from server.ledger.attempt import Attempt, CostSource, Outcome
from server.ledger.window import Short, Wanted, WindowSpec
from server.storage.database import Database
from server.storage.errors import StorageError
from server.storage.store import Store

# Keeps Redis from answering anybody for so many seconds.
_BUSY = """
local till = redis.call('TIME')[1] + ARGV[1]
while tonumber(redis.call('TIME')[1]) <= till do end
"""
SPEC = WindowSpec(None, 1_000_000, 3600)
KEY = WindowSpec("team", 400_000, 60)


def wanted(amount: int) -> Wanted:
    return Wanted(amount, amount, amount)


class Shop:
    """Stores of one kind on one database and one Redis; each call is a new process."""

    def __init__(self, url: str, redis_url: str | None) -> None:
        self.url = url
        self.redis_url = redis_url
        self.prefix = f"t{uuid.uuid4().hex[:8]}"

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[tuple[Windows, Store]]:
        store = Store(Database(self.url), StorageSettings(url=self.url))
        store.start()
        windows: Windows
        if self.redis_url is None:
            windows = MemoryWindows(store, Pacer(store))
        else:
            client = RedisClient(self.redis_url, self.prefix)
            windows = RedisWindows(client, store, Pacer(store))
        try:
            yield windows, store
        finally:
            await windows.close()
            store.close()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    url = f"sqlite:///{tmp_path}/p2l.db"
    if request.param == "memory":
        return Shop(url, None)
    server: RedisServer = request.getfixturevalue("redis")
    return Shop(url, server.url)


@pytest.fixture
def redis_shop(redis: RedisServer, tmp_path: Path) -> Shop:
    return Shop(f"sqlite:///{tmp_path}/p2l.db", redis.url)


def paid(
    store: Store, name: str, nano: int, key: str = "team", *, at_s: float | None = None
) -> None:
    """A settled row of the ledger. at_s: when it was settled; None: now."""
    store.settle(
        Attempt(
            request_id=name, attempt=1, key_name=key, model="m", provider="p", upstream_model="m",
            routed=True, streamed=False, started_at=time.time(), reserved_pico=nano * 1000,
            expected_pico=None, budget_pico=None, budget_mode=None, outcome=Outcome.ANSWERED,
            settled_at=time.time() if at_s is None else at_s, cost_pico=nano * 1000,
            cost_source=CostSource.USAGE,
        )
    )  # fmt: skip


async def until(condition: Callable[[], object]) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


async def available(windows: Windows, spec: WindowSpec) -> int:
    short = await windows.reserve("probe", [spec], wanted(2**61))
    assert isinstance(short, Short)
    return short.available


async def settled(windows: Windows) -> None:
    tasks = getattr(windows, "_tasks", set())
    if tasks:
        await asyncio.wait(set(tasks))


async def test_reserve_settle_refuse(shop: Shop) -> None:
    async with shop.gateway() as (windows, _):
        both = [SPEC, KEY]
        assert await windows.reserve("a", both, wanted(300_000)) == 300_000
        short = await windows.reserve("b", both, wanted(200_000))
        assert isinstance(short, Short)
        assert (short.spec, short.available) == (KEY, 100_000)
        assert short.retry_after_s == 1.0
        windows.settle("a", both, 250_000)
        await settled(windows)
        assert await available(windows, SPEC) == 750_000
        short = await windows.reserve("b", both, wanted(200_000))
        assert isinstance(short, Short)
        assert 55 < short.retry_after_s <= 60.1
        short = await windows.reserve("b", both, wanted(500_000))
        assert isinstance(short, Short)
        assert short.retry_after_s > 3600


async def test_between_least_and_most(shop: Shop) -> None:
    async with shop.gateway() as (windows, _):
        assert await windows.reserve("a", [SPEC], Wanted(1_000, 50_000, 5_000_000)) == 125_000
        assert await windows.reserve("b", [SPEC], Wanted(1_000, 875_000, 5_000_000)) == 875_000
        assert isinstance(await windows.reserve("c", [SPEC], Wanted(1, 50_000, 60_000)), Short)


async def test_money_leaves_the_window(shop: Shop) -> None:
    spec = WindowSpec(None, 1_000, 1)
    async with shop.gateway() as (windows, _):
        await windows.reserve("a", [spec], wanted(900))
        windows.settle("a", [spec], 900)
        await settled(windows)
        short = await windows.reserve("b", [spec], wanted(900))
        assert isinstance(short, Short)
        await asyncio.sleep(short.retry_after_s + 0.005)
        assert await windows.reserve("b", [spec], wanted(900)) == 900


async def test_spend_from_before_the_clock_was_set_back_leaves_the_window(shop: Shop) -> None:
    spec = WindowSpec("team", 1_000_000, 1)
    async with shop.gateway() as (_, store):
        paid(store, "r1", 400_000, at_s=time.time() + 3 * 3600)
    async with shop.gateway() as (windows, _):
        assert await available(windows, spec) == 600_000
        for _ in range(400):
            if await available(windows, spec) == 1_000_000:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it stays until the time is what it was")


async def test_a_new_process_goes_on_from_the_ledger(shop: Shop) -> None:
    async with shop.gateway() as (windows, store):
        for n in range(3):
            await windows.reserve(f"r{n}:1", [SPEC, KEY], wanted(100_000))
            paid(store, f"r{n}", 90_000)
            windows.settle(f"r{n}:1", [SPEC, KEY], 90_000)
        await settled(windows)
    async with shop.gateway() as (windows, _):
        assert await available(windows, SPEC) == 1_000_000 - 270_000
        assert await available(windows, KEY) == 400_000 - 270_000


@pytest.mark.slow
async def test_money_is_conserved_whatever_the_order(shop: Shop) -> None:
    rng = random.Random(7)
    async with shop.gateway() as (windows, _):
        spent = 0

        async def one(n: int) -> None:
            nonlocal spent
            granted = await windows.reserve(str(n), [SPEC], wanted(rng.randint(1, 40_000)))
            if isinstance(granted, Short):
                return
            await asyncio.sleep(rng.random() * 0.01)
            cost = rng.randint(0, granted)
            spent += cost
            windows.settle(str(n), [SPEC], cost)

        await asyncio.gather(*(one(n) for n in range(200)))
        await settled(windows)
        assert spent <= SPEC.amount_nano
        assert await available(windows, SPEC) == SPEC.amount_nano - spent


@pytest.mark.services
async def test_two_gateways_share_a_window(redis_shop: Shop) -> None:
    async with redis_shop.gateway() as (one, _), redis_shop.gateway() as (two, _):
        assert await one.reserve("a", [SPEC], wanted(600_000)) == 600_000
        assert isinstance(await two.reserve("b", [SPEC], wanted(600_000)), Short)
        one.settle("a", [SPEC], 100_000)
        await settled(one)
        assert await two.reserve("b", [SPEC], wanted(600_000)) == 600_000


@pytest.mark.services
async def test_what_redis_loses_is_put_back(tmp_path: Path) -> None:
    with redis_server() as server:
        shop = Shop(f"sqlite:///{tmp_path}/p2l.db", server.url)
        async with shop.gateway() as (windows, store):
            await windows.reserve("r1:1", [SPEC], wanted(200_000))
            paid(store, "r1", 150_000)
            windows.settle("r1:1", [SPEC], 150_000)
            await settled(windows)
            await windows.reserve("open:1", [SPEC], wanted(300_000))
            server.stop()
            with pytest.raises(StorageError):
                await windows.reserve("r2:1", [SPEC], wanted(1))
            windows.settle("open:1", [SPEC], 250_000)
            await asyncio.sleep(0.1)
            server.start()
            paid(store, "open", 250_000)
            await settled(windows)
            left = await available(windows, SPEC)
            # booked while it was put back: perhaps twice, never not at all
            assert left in (1_000_000 - 400_000, 1_000_000 - 650_000)


@pytest.mark.slow
@pytest.mark.services
async def test_what_redis_reserved_without_saying_so_is_given_back(tmp_path: Path) -> None:
    """It does what it was asked late; its answer goes to nobody, and nothing is sent."""
    with redis_server() as server:
        shop = Shop(f"sqlite:///{tmp_path}/p2l.db", server.url)
        async with shop.gateway() as (windows, _):
            assert await windows.reserve("r1:1", [SPEC], wanted(1)) == 1
            async with Redis.from_url(server.url) as other:
                busy = asyncio.create_task(other.eval(_BUSY, 0, 3))
                await asyncio.sleep(0.2)
                with pytest.raises(StorageError):
                    await windows.reserve("r2:1", [SPEC], wanted(400_000))
                await busy
            assert await windows.reserve("r3:1", [SPEC], wanted(1)) == 1
            await settled(windows)
            assert await available(windows, SPEC) == 1_000_000 - 2


@pytest.mark.services
async def test_closing_waits_for_a_reservation_that_was_given_up(redis_shop: Shop) -> None:
    async with redis_shop.gateway() as (windows, _):
        await windows.reserve("r1:1", [SPEC], wanted(1))
        task = asyncio.create_task(windows.reserve("r2:1", [SPEC], wanted(400_000)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with redis_shop.gateway() as (windows, _):
        assert await available(windows, SPEC) == 1_000_000 - 1


@pytest.mark.services
async def test_what_a_dead_gateway_held_is_given_back(redis_shop: Shop) -> None:
    async with redis_shop.gateway() as (dead, _):
        await dead.reserve("r1:1", [SPEC], wanted(500_000))
    async with redis_shop.gateway() as (windows, _):
        assert await available(windows, SPEC) == 500_000
        windows.settle_lost("r1:1", [SPEC], 20_000)
        windows.settle_lost("never:1", [SPEC], 20_000)
        await settled(windows)
        assert await available(windows, SPEC) == 980_000


@pytest.mark.services
async def test_a_reservation_that_is_given_up_is_given_back(redis_shop: Shop) -> None:
    async with redis_shop.gateway() as (windows, _):
        await available(windows, SPEC)
        task = asyncio.create_task(windows.reserve("a", [SPEC], wanted(500_000)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(100):
            await asyncio.sleep(0.01)
            if await available(windows, SPEC) == 1_000_000:
                return
        raise AssertionError


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def rates_at(request: pytest.FixtureRequest) -> str | None:
    if request.param == "memory":
        return None
    server: RedisServer = request.getfixturevalue("redis")
    return server.url


@asynccontextmanager
async def counting(redis_url: str | None) -> AsyncIterator[Rates]:
    if redis_url is None:
        yield MemoryRates()
        return
    client = RedisClient(redis_url, f"t{uuid.uuid4().hex[:8]}")
    rates = RedisRates(client)
    try:
        yield rates
    finally:
        await rates.close()
        await client.close()


async def test_a_minutes_worth_at_once_then_evenly(rates_at: str | None) -> None:
    async with counting(rates_at) as rates:
        assert [await rates.take("k", 60, 1) for _ in range(60)] == [0.0] * 60
        wait_s = await rates.take("k", 60, 1)
        assert 0.5 < wait_s <= 1.0
        await asyncio.sleep(wait_s)
        assert await rates.take("k", 60, 1) == 0.0
        assert await rates.take("other", 60, 1) == 0.0


async def test_tokens_may_be_owed(rates_at: str | None) -> None:
    async with counting(rates_at) as rates:
        assert await rates.take("k", 600, 0) == 0.0
        rates.owe("k", 600, 1200)
        await asyncio.sleep(0.1)
        assert 59 < await rates.take("k", 600, 0) < 61


def test_specs_with_another_amount_are_the_same_window() -> None:
    assert replace(SPEC, amount_nano=5).name == SPEC.name
