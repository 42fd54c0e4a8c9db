"""A hedged request: where the first model is slow to begin, a second is asked as well.

The first to answer wins and the other is hung up on. Both may be billed, and both are counted: the
loser's entry is settled at what was seen of its answer, or at an estimate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from router.choice import Decision
from server.ledger.attempt import Outcome
from server.ledger.entry import Entry
from server.upstream.base import UpstreamReply, UpstreamStream
from server.upstream.errors import UpstreamError, UpstreamRejectedError
from server.wire.surface import Surface

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Leg(Generic[T]):
    """One of the two. started: by time.perf_counter."""

    decision: Decision
    entry: Entry
    sent_as: Surface
    task: asyncio.Task[T]
    error: UpstreamError | None = None
    started: float = field(default_factory=time.perf_counter)

    def failed(self) -> bool:
        """Whether it has ended in an error, which is then settled. Other exceptions go through."""
        try:
            self.task.result()
        except UpstreamError as error:
            self.error = error
            self.entry.fail(error)
            return True
        return False

    async def give_up(self) -> None:
        """Hangs up on it, and settles what it may cost."""
        self.task.cancel()
        try:
            (outcome,) = await asyncio.gather(self.task, return_exceptions=True)
            if isinstance(outcome, UpstreamReply):
                self.entry.answer(outcome.body)
            elif isinstance(outcome, UpstreamStream):
                await outcome.aclose()
            elif isinstance(outcome, UpstreamError):
                self.entry.fail(outcome)
        finally:  # a process that stops does not wait for it either
            self.entry.settle(Outcome.CANCELLED)


async def race(
    first: Leg[T], second: Callable[[], Awaitable[Leg[T] | None]], after_s: float
) -> list[Leg[T]]:
    """The legs, the decisive one last: it has answered, or it has failed after all others.

    second: starts the other leg, or declines to (None); called where nothing has come after_s
    seconds on. An upstream's verdict on the caller's request is decisive too.
    """
    legs = [first]
    try:
        done, _ = await asyncio.wait({first.task}, timeout=after_s)
        if not done and (other := await second()) is not None:
            legs.append(other)
        return await _decided(legs)
    except BaseException:
        # the caller has hung up, or something is broken: nobody waits for any of them
        await asyncio.gather(*(asyncio.shield(leg.give_up()) for leg in legs))
        raise


async def _decided(legs: list[Leg[T]]) -> list[Leg[T]]:
    running, failed = list(legs), list[Leg[T]]()
    while True:
        tasks: set[asyncio.Task[Any]] = {leg.task for leg in running}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = next(leg for leg in running if leg.task.done())
        running.remove(ended)
        if ended.failed() and running and not isinstance(ended.error, UpstreamRejectedError):
            failed.append(ended)
            continue
        for leg in running:
            await leg.give_up()
        return [*failed, *running, ended]
