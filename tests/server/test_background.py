"""Work beside the requests has ended when its context has, its threads too."""

from __future__ import annotations

import asyncio
import threading

import pytest

from server.background import beside, in_thread


async def test_what_runs_in_a_thread_has_ended_when_the_context_has() -> None:
    begun, may_end, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def read_the_database() -> None:
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(10)
        ended.set()

    async with beside(in_thread(read_the_database)):
        await begun.wait()
        loop.call_later(0.05, may_end.set)
    assert ended.is_set()


async def test_what_it_returns_and_raises_is_the_functions() -> None:
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)
