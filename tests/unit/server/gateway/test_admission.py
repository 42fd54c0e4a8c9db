"""Places and the queue for them."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from server.errors import OverloadedError
from server.gateway.admission import Admission


async def test_without_a_queue_the_next_one_is_refused_with_a_wait() -> None:
    admission = Admission(1)
    with await admission.admit("a"):
        with pytest.raises(OverloadedError) as caught:
            await admission.admit("a")
        assert caught.value.headers["retry-after"] == "1"
    with await admission.admit("a"):
        assert admission.in_flight == 1
    assert admission.in_flight == 0


async def test_waiting_is_bounded_in_number_and_in_time() -> None:
    admission = Admission(1, max_waiting=1, max_wait_s=0.05)
    with await admission.admit("a"):
        waiting = asyncio.ensure_future(admission.admit("a"))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await admission.admit("a")
        with pytest.raises(OverloadedError):
            await waiting
    assert (admission.waiting, admission.in_flight) == (0, 0)


async def test_keys_are_served_in_turn_and_the_longest_queue_gives_way() -> None:
    admission = Admission(1, max_waiting=4, max_wait_s=5)
    order: list[str] = []

    async def work(key: str) -> None:
        with await admission.admit(key):
            order.append(key)
            await asyncio.sleep(0)

    with await admission.admit("flood"):
        flood = [asyncio.ensure_future(work("flood")) for _ in range(4)]
        await asyncio.sleep(0)
        other = [asyncio.ensure_future(work("other")) for _ in range(2)]
        await asyncio.sleep(0)
    done = await asyncio.gather(*flood, *other, return_exceptions=True)
    refused = [isinstance(error, OverloadedError) for error in done]
    assert refused == [False, False, True, True, False, False], "the newest of the longest queue"
    assert order == ["flood", "other", "flood", "other"]
    assert (admission.waiting, admission.in_flight) == (0, 0)


async def test_one_key_cannot_hold_every_place() -> None:
    admission = Admission(10, share_per_key=0.8)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(await admission.admit("flood"))
        with pytest.raises(OverloadedError):
            await admission.admit("flood")
        stack.enter_context(await admission.admit("other"))
        stack.enter_context(await admission.admit("other"))
        with pytest.raises(OverloadedError):
            await admission.admit("other")
    assert admission.in_flight == 0


async def test_giving_up_loses_no_place() -> None:
    admission = Admission(1, max_waiting=10, max_wait_s=5)
    place = await admission.admit("a")
    place.__enter__()
    waiting = [asyncio.ensure_future(admission.admit("a")) for _ in range(2)]
    await asyncio.sleep(0)
    place.__exit__(None, None, None)  # hands the place to the first of them ...
    waiting[0].cancel()  # ... which is cancelled before it can know
    with await waiting[1]:
        assert admission.in_flight == 1
    assert (admission.waiting, admission.in_flight) == (0, 0)


async def test_draining_lets_nobody_in_and_sends_away_who_waits() -> None:
    admission = Admission(1, max_waiting=1, max_wait_s=5)
    with await admission.admit("a"):
        waiting = asyncio.ensure_future(admission.admit("b"))
        await asyncio.sleep(0)
        admission.drain()
        with pytest.raises(OverloadedError, match="shutting down"):
            await waiting
        with pytest.raises(OverloadedError, match="shutting down"):
            await admission.admit("a")
        assert admission.in_flight == 1
