"""A hedged request: where the first model is slow to begin, a second model is asked as well.

The first to answer wins, and the connection to the other is closed. Both may be billed, and both
are counted: the loser's entry is settled at what was seen of its answer, or at an estimate.
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
    """One of the two attempts. started: its start, as read from time.perf_counter."""

    decision: Decision
    entry: Entry
    sent_as: Surface
    task: asyncio.Task[T]
    error: UpstreamError | None = None
    started: float = field(default_factory=time.perf_counter)

    def failed(self) -> bool:
        """Whether the attempt has ended in an UpstreamError, which is then settled. Any other
        exception is raised."""
        try:
            self.task.result()
        except UpstreamError as error:
            self.error = error
            self.entry.fail(error)
            return True
        return False

    async def give_up(self) -> None:
        """Closes the attempt's connection and settles what it may cost."""
        self.task.cancel()
        try:
            (outcome,) = await asyncio.gather(self.task, return_exceptions=True)
            if isinstance(outcome, UpstreamReply):
                self.entry.answer(outcome.body)
            elif isinstance(outcome, UpstreamStream):
                await outcome.aclose()
            elif isinstance(outcome, UpstreamError):
                self.entry.fail(outcome)
        finally:  # a process that is stopping does not wait for it either
            self.entry.settle(Outcome.CANCELLED)


async def race(
    first: Leg[T], second: Callable[[], Awaitable[Leg[T] | None]], after_s: float
) -> list[Leg[T]]:
    """Runs the race; returns its legs, the decisive one last: it has answered, or it has failed
    after all the others.

    second: starts the other leg, or declines to (None); it is called where the first leg has sent
    nothing within after_s seconds. A provider's refusal of the caller's request is decisive too.
    """
    legs = [first]
    try:
        done, _ = await asyncio.wait({first.task}, timeout=after_s)
        if not done and (other := await second()) is not None:
            legs.append(other)
        return await _decided(legs)
    except BaseException:
        # The caller has hung up, or there is a bug: nobody waits for any of the legs.
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
