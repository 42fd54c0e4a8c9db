"""What the money of a session costs as it runs down, and how its key is agreed on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from server.accounts.pacer import Pacer
from server.accounts.purses import Purses, _Known, _pace
from server.accounts.windows import MemoryWindows
from server.auth.authenticator import Caller
from server.build import build_store
from server.config.settings import StorageSettings
from server.errors import OverloadedError
from server.ledger.window import WindowSpec
from server.storage.errors import StorageError
from server.storage.store import Store

SPEC = WindowSpec("team", 10**9, None, "0" * 32)  # one USD


def paced(spent_usd: float, requests: int = 10) -> tuple[float, Decimal | None]:
    return _pace(SPEC, _Known(spent=round(spent_usd * 1e9), requests=requests))


def test_the_price_rises_with_what_is_gone() -> None:
    prices = [paced(n / 100)[0] for n in range(101)]
    assert prices == sorted(prices)
    assert prices[0] == 0.0
    # a request that takes a hundredth of the budget must gain so much of a win
    assert prices[50] / 100 == 0.04
    assert prices[10] / 100 < 0.001
    assert prices[90] / 100 > 1


def test_what_is_left_is_spread_over_as_many_requests_as_there_have_been() -> None:
    assert paced(0.5)[1] is None
    assert paced(0.75)[1] == Decimal("0.025")
    assert paced(1.0)[1] == 0
    assert paced(0.75, requests=0)[1] == Decimal("0.25")


class SlowWindows(MemoryWindows):
    """Gateways that need a while to agree, or that cannot."""

    fails = False
    n_asked = 0

    async def agreed(self, name: str, own: str) -> str:
        self.n_asked += 1
        await asyncio.sleep(0.1)
        if self.fails:
            raise StorageError("redis: TimeoutError")
        return await super().agreed(name, own)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = build_store(StorageSettings(url=f"sqlite:///{tmp_path}/p2l.db"))
    store.start()
    yield store
    store.close()


async def test_a_caller_that_gives_up_while_the_key_is_read_stops_nobody(store: Store) -> None:
    purses = Purses(store, SlowWindows(store, Pacer(store)))
    one = Decimal(1)
    first = asyncio.create_task(purses.of(Caller("a"), "job", None, one))
    second = asyncio.create_task(purses.of(Caller("b"), "job", None, one))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await second is not None


async def test_where_the_key_cannot_be_read_not_everybody_waits(store: Store) -> None:
    windows = SlowWindows(store, Pacer(store))
    windows.fails = True
    day_s, now_s = 1e9, 100.0
    purses = Purses(store, windows, clock=lambda: day_s, steady=lambda: now_s)
    with_money = (purses.of(Caller("a"), "job", None, Decimal(1)) for _ in range(10))
    without = (purses.of(Caller("a"), "job", None, None) for _ in range(10))
    found = await asyncio.gather(*with_money, *without, return_exceptions=True)
    assert windows.n_asked == 1, "the others are told what the first has found"
    assert [type(one) for one in found[:10]] == [OverloadedError] * 10
    assert found[10:] == [None] * 10
    windows.fails = False
    now_s += 2.1
    day_s -= 3 * 3600  # a clock that is set back makes nobody wait
    assert await purses.of(Caller("a"), "job", None, Decimal(1)) is not None
