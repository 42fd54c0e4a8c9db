"""Runs background work, which continues after a failure."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, runtime_checkable

from p2l_model.errors import P2LError
from server.process.bugs import kind_and_place

T = TypeVar("T")
_LOG: Final = logging.getLogger("p2l_router")
_FIRST_RETRY_S: Final = 1.0
_LAST_RETRY_S: Final = 60.0
# Work that is done every second is retried at least every five seconds.
_SHORTEST_LAST_RETRY_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work that is done repeatedly.

    name: a word, for the log, the metrics and readiness. every_s: the pause after each run.
    stale_after_s: without a success for this much longer than the pause, its results are stale.
    Either may be a function, which is called each time. guards: requests must not be served with
    stale results, so the gateway is then not ready. at_once: whether the first run comes without a
    pause.
    """

    name: str
    work: Callable[[], Awaitable[None]]
    every_s: float | Callable[[], float]
    stale_after_s: float | Callable[[], float]
    guards: bool = False
    at_once: bool = False

    @property
    def pause_s(self) -> float:
        return self.every_s() if callable(self.every_s) else self.every_s

    @property
    def grace_s(self) -> float:
        return self.stale_after_s() if callable(self.stale_after_s) else self.stale_after_s


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of a job. failures: in total. age_s: seconds since the last success, or since the
    start."""

    name: str
    failures: int
    age_s: float
    is_stale: bool
    guards: bool


class Background:
    """The jobs of one process. A job that fails is logged, counted and tried again, after growing
    pauses; no Exception ends it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, _Running] = {}

    @asynccontextmanager
    async def doing(self, job: Job) -> AsyncIterator[None]:
        """Within this context, the job runs repeatedly. At its end the job is cancelled and has
        ended."""
        running = self._running[job.name] = _Running(job, self._clock)
        async with beside(running.repeat()):
            yield

    def states(self) -> list[JobState]:
        """The states of all jobs, sorted by name."""
        return [running.state() for _, running in sorted(self._running.items())]


@runtime_checkable
class HasBackground(Protocol):
    """An object with jobs of its own."""

    @property
    def background(self) -> Background: ...


def why_not_ready(jobs: Iterable[JobState]) -> str | None:
    """Which work that guards requests has not succeeded for too long; None where none is stale."""
    late = [
        f"{job.name} (last done {job.age_s:.0f} s ago)"
        for job in jobs
        if job.guards and job.is_stale
    ]
    return f"background work is overdue: {', '.join(late)}" if late else None


class _Running:
    def __init__(self, job: Job, clock: Callable[[], float]) -> None:
        self._job = job
        self._clock = clock
        self._succeeded_at = clock()
        self._pause_s = job.pause_s
        self._failures = 0
        self._in_a_row = 0

    async def repeat(self) -> None:
        wait_s = 0.0 if self._job.at_once else self._pause_s
        while True:
            await asyncio.sleep(wait_s)
            try:
                await self._job.work()
                wait_s = self._succeeded()
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling() > 0:
                    raise
                # Something within the work was cancelled, not the work itself.
                wait_s = self._failed(error)
            except Exception as error:
                wait_s = self._failed(error)

    def state(self) -> JobState:
        age_s = self._clock() - self._succeeded_at
        is_stale = age_s > self._pause_s + self._job.grace_s
        return JobState(self._job.name, self._failures, age_s, is_stale, self._job.guards)

    def _succeeded(self) -> float:
        if self._in_a_row > 0:
            _LOG.warning("background: %s: works again", self._job.name)
        self._in_a_row = 0
        self._succeeded_at = self._clock()
        self._pause_s = self._job.pause_s
        return self._pause_s

    def _failed(self, error: BaseException) -> float:
        """The seconds until the next try."""
        self._failures += 1
        self._in_a_row += 1
        if self._in_a_row.bit_count() == 1:  # at the 1st, 2nd, 4th, 8th failure in a row
            _LOG.error(
                "background: %s: failed %d times in a row: %s; it is tried again",
                self._job.name,
                self._in_a_row,
                _reason(error),
            )
        first = min(_FIRST_RETRY_S, self._pause_s)
        last = min(_LAST_RETRY_S, max(_SHORTEST_LAST_RETRY_S, self._pause_s))
        return float(min(last, first * 2 ** min(self._in_a_row - 1, 16)))


def _reason(error: BaseException) -> str:
    """The reason for the log: our own errors' messages hold no secret; others' may quote
    anything."""
    return str(error) if isinstance(error, P2LError) else kind_and_place(error)


@asynccontextmanager
async def beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Within this context, the work runs; at the end it is cancelled and has ended."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def in_thread(work: Callable[[], T]) -> T:
    """The result of work(), run in a thread. A cancelled caller waits for its end: an object that
    it uses, such as the database, may be closed next."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        running.exception()  # nobody is left to be told
        raise
