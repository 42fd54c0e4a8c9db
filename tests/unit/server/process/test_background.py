"""Work beside the requests: it has ended when its context has, and no failure ends it before."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from p2l_model.errors import P2LError
from server.process import background
from server.process.background import Background, Job, beside, in_thread, why_not_ready
from server.process.closing import Closing


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


def job(work: Callable[[], Awaitable[None]], **changes: Any) -> Job:
    return Job(**{"name": "work", "work": work, "every_s": 0.01, "stale_after_s": 5.0} | changes)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Failing:
    """Raises what it is given, one after the other, then succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.n_done = 0

    async def __call__(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.n_done += 1


async def test_no_exception_ends_the_work_and_each_is_counted_and_logged_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Failing(ValueError("the canary sings"), P2LError("our own words"), OSError("canary"))
    jobs = Background()
    with caplog.at_level(logging.WARNING):
        async with jobs.doing(job(work)):
            await until(lambda: work.n_done > 1)
            (state,) = jobs.states()
    assert (state.failures, state.is_stale) == (3, False)
    assert "ValueError at test_background.py" in caplog.text
    assert "our own words" in caplog.text
    assert "works again" in caplog.text
    assert "canary" not in caplog.text


async def test_a_cancellation_within_the_work_is_a_failure_and_one_of_the_work_is_its_end() -> None:
    work = Failing(asyncio.CancelledError())
    jobs = Background()
    async with jobs.doing(job(work)):
        await until(lambda: work.n_done > 0)
    assert jobs.states()[0].failures == 1
    done = work.n_done
    await asyncio.sleep(0.05)
    assert work.n_done == done


async def test_pauses_grow_after_failures_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep, pauses = asyncio.sleep, []

    async def noting(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(background, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": noting}))
    work = Failing(*[ValueError()] * 12)
    async with Background().doing(job(work, every_s=3600.0)):
        while work.n_done == 0:
            await sleep(0)
    assert pauses[:9] == [3600, 1, 2, 4, 8, 16, 32, 60, 60]
    assert pauses[13] == 3600


async def test_what_is_not_done_for_too_long_is_stale_whether_it_fails_or_hangs() -> None:
    now = 1000.0
    jobs = Background(lambda: now)
    for_ever = asyncio.Event()

    async def hang() -> None:
        await for_ever.wait()

    async with (
        jobs.doing(job(hang, name="keys", guards=True)),
        jobs.doing(job(hang, name="prices")),
    ):
        now += 4.9
        assert why_not_ready(jobs.states()) is None
        now += 0.2
        assert [state.is_stale for state in jobs.states()] == [True, True]
        said = why_not_ready(jobs.states())
    assert said == "background work is overdue: keys (last done 5 s ago)"


async def test_every_part_is_closed_whatever_another_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed: list[str] = []

    def part(name: str, error: BaseException | None = None, hang_s: float = 0.0) -> Any:
        async def close() -> None:
            closed.append(name)
            await asyncio.sleep(hang_s)
            if error is not None:
                raise error

        return close

    async def close_all() -> None:
        async with Closing(patience_s=0.05) as closing:
            closing.at_the_end("storage", part("storage"))
            closing.at_the_end("accounts", part("accounts", hang_s=60))
            closing.at_the_end("scorer", part("scorer", asyncio.CancelledError()))
            closing.at_the_end("providers", part("providers", ValueError("canary")))

    with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
        await close_all()
    assert closed == ["providers", "scorer", "accounts", "storage"]
    assert "closing: providers: ValueError at" in caplog.text
    assert "canary" not in caplog.text
