"""Puts waiting prompts into batches, within the engine's limits.

A batch begins with the prompt of the earliest deadline, which is its arrival plus a little for each
of its tokens. So short prompts overtake long ones that came just before, and no prompt waits for
ever. The batch is filled in the same order, with prompts of similar length where the engine pads.
All of this runs on the event loop; only the engine's call runs in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.engine.base import Engine, EngineLimits
from p2l_model.engine.observer import Observer, Silent
from p2l_model.errors import ScoringError

# Each token makes a prompt's deadline this much later: half a second for 512 tokens.
PATIENCE_S_PER_TOKEN: Final = 0.001
# At most this share of a padded batch may be padding.
_MAX_PADDING: Final = 0.25


@dataclass(slots=True, eq=False)
class _Waiting:
    """A prompt in the queue."""

    ids: Sequence[int]
    came_s: float
    result: asyncio.Future[NDArray[np.float32]] = field(repr=False)

    @property
    def deadline_s(self) -> float:
        return self.came_s + PATIENCE_S_PER_TOKEN * len(self.ids)


class Batcher:
    """The queue of one engine. It belongs to one event loop; close() ends it."""

    def __init__(
        self,
        engine: Engine,
        *,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = engine
        self._limits = engine.limits
        self._observer = observer or Silent()
        self._clock = clock
        self._queue: list[_Waiting] = []
        self._running: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(self._limits.parallel, thread_name_prefix="p2l-engine")
        self._expected = 0
        self._timer: asyncio.TimerHandle | None = None
        self._last_size = 1
        self._tokens_per_s: float | None = None
        self._closed = False

    @property
    def backlog_s(self) -> float:
        """The time that the queue will take at the recent speed; 1 before anything was scored."""
        if self._tokens_per_s is None:
            return 1.0
        return sum(len(waiting.ids) for waiting in self._queue) / self._tokens_per_s

    def expect(self, n: int) -> None:
        """Announces n more prompts (or fewer, if negative). A batch that can still grow waits for
        them, for at most wait_ms."""
        self._expected += n

    async def features(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The features (F,) of one prompt. If cancelled while waiting, it is not scored. Raises
        ScoringError."""
        if self._closed:
            raise ScoringError("the scorer is closed")
        result: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(ids, self._clock(), result)
        self._queue.append(waiting)
        self._start()
        try:
            return await result
        except asyncio.CancelledError:
            if waiting in self._queue:
                self._queue.remove(waiting)
                self._observer.spared("left")
            raise

    async def close(self) -> None:
        """Finishes the current batches; waiting prompts fail with ScoringError."""
        self._closed = True
        waiting, self._queue = self._queue, []
        for one in waiting:
            _fail(one, ScoringError("the scorer was closed before the prompt's turn"))
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)

    def _start(self, *, waited: bool = False) -> None:
        """Gives the engine as many batches as it takes at a time."""
        if waited:
            self._timer = None
        while self._queue and len(self._running) < self._limits.parallel:
            if not waited and self._can_grow():
                if self._timer is None:
                    loop = asyncio.get_running_loop()
                    wait_s = self._limits.wait_ms / 1000.0
                    self._timer = loop.call_later(wait_s, lambda: self._start(waited=True))
                return
            self._stop_timer()
            batch = pick_batch(self._queue, self._limits)
            self._queue = [waiting for waiting in self._queue if waiting not in batch]
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _can_grow(self) -> bool:
        """Whether waiting could add prompts: some are on their way, or there were some before."""
        if self._limits.wait_ms <= 0 or (self._expected <= 0 and self._last_size <= 1):
            return False
        n_tokens = sum(len(waiting.ids) for waiting in self._queue)
        limits = self._limits
        return len(self._queue) < limits.batch_prompts and n_tokens < limits.batch_tokens

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _run(self, batch: list[_Waiting]) -> None:
        """Scores a batch. Whatever fails, every prompt in it gets a result or an error."""
        try:
            await self._infer(batch)
        except ScoringError as error:
            await self._one_by_one(batch, error)
        except Exception as error:
            for waiting in batch:
                _fail(waiting, ScoringError(f"the engine failed: {type(error).__name__}"))

    async def _infer(self, batch: list[_Waiting]) -> None:
        started = self._clock()
        for waiting in batch:
            self._observer.waited(started - waiting.came_s)
        ids = [waiting.ids for waiting in batch]
        loop = asyncio.get_running_loop()
        rows = await loop.run_in_executor(self._threads, self._engine.features, ids)
        self._note(self._clock() - started, ids)
        for waiting, row in zip(batch, rows, strict=True):
            if not waiting.result.done():
                waiting.result.set_result(row)

    async def _one_by_one(self, batch: list[_Waiting], error: ScoringError) -> None:
        """Scores the prompts of a failed batch one by one, so that one bad prompt does not fail the
        others."""
        if len(batch) == 1:
            _fail(batch[0], error)
            return
        for waiting in batch:
            if not waiting.result.done():
                await self._run([waiting])

    def _note(self, seconds: float, ids: Sequence[Sequence[int]]) -> None:
        n_tokens = sum(len(one) for one in ids)
        self._observer.inferred(seconds, len(ids), n_tokens)
        self._last_size = len(ids)
        speed = n_tokens / max(seconds, 1e-6) * self._limits.parallel
        known = self._tokens_per_s
        self._tokens_per_s = speed if known is None else 0.8 * known + 0.2 * speed

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not self._closed:
            self._start()


def pick_batch(queue: Sequence[_Waiting], limits: EngineLimits) -> list[_Waiting]:
    """The next batch of a queue that is not empty. Its first prompt has the earliest deadline,
    whatever its length."""
    first, *others = sorted(queue, key=lambda waiting: waiting.deadline_s)
    batch, n_tokens, longest = [first], len(first.ids), len(first.ids)
    for waiting in others:
        if len(batch) >= limits.batch_prompts:
            break
        length = len(waiting.ids)
        tokens, peak = n_tokens + length, max(longest, length)
        cost = peak * (len(batch) + 1) if limits.pads else tokens
        if cost > limits.batch_tokens or (limits.pads and tokens < (1.0 - _MAX_PADDING) * cost):
            continue
        batch.append(waiting)
        n_tokens, longest = tokens, peak
    return batch


def _fail(waiting: _Waiting, error: ScoringError) -> None:
    if not waiting.result.done():
        waiting.result.set_exception(error)
