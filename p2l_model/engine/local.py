"""Scores conversations on an event loop, which must never wait for a matrix multiplication.

A conversation is tokenised in a thread. Ids that were scored recently, or are being scored, are not
scored again; the others go through the batcher to the engine. An engine that takes less time than
the way to it and back (static features) is asked at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint
from p2l_model.engine.base import Engine
from p2l_model.engine.batcher import Batcher
from p2l_model.engine.cache import PromptCache
from p2l_model.engine.load import EngineOptions, load_engine
from p2l_model.engine.observer import Observer, Silent
from p2l_model.engine.scorer import ScoredPrompt, ScorerOverloadedError
from p2l_model.errors import P2LError, ScoringError
from p2l_model.types import Conversation, PromptLeaderboard

T = TypeVar("T")

_TOKENISERS: Final = 2
_COUNTED_AT_ONCE_CHARS: Final = 256
_CLOSED: Final = "the scorer was closed before the prompt's turn"


@dataclass(slots=True, eq=False)
class _Shared:
    """A prompt that is being scored, and how many callers wait for it."""

    task: asyncio.Task[ScoredPrompt]
    n_callers: int = field(default=0)


class LocalScorer:
    """A checkpoint and its engine in this process. It belongs to one event loop."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        engine: Engine,
        *,
        max_waiting: int = 1024,
        cache_size: int = 4096,
        observer: Observer | None = None,
    ) -> None:
        """max_waiting: the most callers that may wait at a time. cache_size: the number of
        leaderboards that are remembered, 0 for none."""
        self._checkpoint = checkpoint
        self._engine = engine
        self._max_waiting = max_waiting
        self._observer = observer or Silent()
        # read by every request
        self._models = tuple(checkpoint.manifest.models)
        self._cache: PromptCache[ScoredPrompt] = PromptCache(cache_size)
        self._in_flight: dict[bytes, _Shared] = {}
        self._waiting = 0
        self._closed = False
        self._batcher: Batcher | None = None
        self._tokenisers = ThreadPoolExecutor(_TOKENISERS, thread_name_prefix="p2l-tokeniser")

    @classmethod
    def warmed(
        cls,
        checkpoint: Checkpoint,
        kind: str = "auto",
        options: EngineOptions | None = None,
        *,
        max_waiting: int = 1024,
        cache_size: int = 4096,
        observer: Observer | None = None,
    ) -> LocalScorer:
        """Loads the engine and warms it up. Raises CheckpointError, ExtraMissingError,
        ScoringError."""
        engine = load_engine(checkpoint, kind, options)
        try:
            engine.warm_up()
        except P2LError:
            engine.close()
            raise
        return cls(
            checkpoint, engine, max_waiting=max_waiting, cache_size=cache_size, observer=observer
        )

    @property
    def models(self) -> tuple[str, ...]:
        return self._models

    @property
    def marginal(self) -> PromptLeaderboard | None:
        return self._checkpoint.marginal

    @property
    def n_waiting(self) -> int:
        """The number of callers that have no answer yet."""
        return self._waiting

    def make_room(self, n: int) -> None:
        """Raises ScorerOverloadedError where n more callers would be too many."""
        if self._waiting + n > self._max_waiting:
            self._observer.refused()
            batcher = self._batcher
            wait_s = 1.0 if batcher is None else min(max(batcher.backlog_s, 1.0), 60.0)
            raise ScorerOverloadedError(self._waiting, wait_s)

    async def start(self) -> None:
        """Does nothing: the engine is already warm."""

    async def score(self, conversation: Conversation) -> ScoredPrompt:
        """Scores a conversation.

        Raises ScorerOverloadedError at once where max_waiting callers wait already, and
        ScoringError once the scorer is closed. A prompt whose callers all gave up while it waited
        is not scored.
        """
        if self._closed:
            raise ScoringError("the scorer is closed")
        self.make_room(1)
        if self._engine.limits.at_once:
            return self._scored_at_once(conversation)
        self._waiting += 1
        try:
            return await self._scored(await self._encoded(conversation))
        finally:
            self._waiting -= 1

    def _scored_at_once(self, conversation: Conversation) -> ScoredPrompt:
        started = time.perf_counter()
        ids = self._checkpoint.prompt.encode(conversation)
        tokenised = time.perf_counter()
        self._observer.tokenised(tokenised - started, len(ids))
        key = self._cache.key(ids)
        known = self._cache.get(key)
        if known is not None:
            self._observer.spared("cached")
            return known
        scored = self._with_board(self._engine.features([ids])[0], len(ids))
        self._observer.inferred(time.perf_counter() - tokenised, 1, len(ids))
        self._cache.put(key, scored)
        return scored

    async def _encoded(self, conversation: Conversation) -> list[int]:
        batcher = self._engine_queue()
        batcher.expect(1)
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            encode = self._checkpoint.prompt.encode
            ids = await _unless_closed(
                lambda: loop.run_in_executor(self._tokenisers, encode, conversation),
                lambda: self._closed,
            )
        finally:
            batcher.expect(-1)
        self._observer.tokenised(time.perf_counter() - started, len(ids))
        return ids

    async def _scored(self, ids: list[int]) -> ScoredPrompt:
        key = self._cache.key(ids)
        known = self._cache.get(key)
        if known is not None:
            self._observer.spared("cached")
            return known
        shared = self._in_flight.get(key)
        if shared is None:
            shared = _Shared(asyncio.get_running_loop().create_task(self._infer(key, ids)))
            self._in_flight[key] = shared
        else:
            self._observer.spared("joined")
        return await self._share(key, shared)

    async def _share(self, key: bytes, shared: _Shared) -> ScoredPrompt:
        """Waits for the shared result; the last caller to give up removes it from the queue."""
        shared.n_callers += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.n_callers -= 1
            if shared.n_callers == 0:
                if self._in_flight.get(key) is shared:
                    del self._in_flight[key]
                shared.task.cancel()

    async def _infer(self, key: bytes, ids: list[int]) -> ScoredPrompt:
        scored = self._with_board(await self._engine_queue().features(ids), len(ids))
        self._cache.put(key, scored)
        return scored

    def _with_board(self, features: NDArray[np.float32], n_tokens: int) -> ScoredPrompt:
        return ScoredPrompt(self._checkpoint.leaderboard(features), n_tokens)

    def _engine_queue(self) -> Batcher:
        # Made at first use, because it belongs to the event loop, which the scorer is made before.
        if self._batcher is None:
            self._batcher = Batcher(self._engine, observer=self._observer)
        return self._batcher

    async def count_tokens(self, text: str) -> int:
        count = self._checkpoint.prompt.count_tokens
        if len(text) <= _COUNTED_AT_ONCE_CHARS:
            return count(text)  # faster than handing it to a thread
        loop = asyncio.get_running_loop()
        return await _unless_closed(
            lambda: loop.run_in_executor(self._tokenisers, count, text), lambda: self._closed
        )

    async def close(self) -> None:
        """Finishes the current batch; waiting prompts fail with ScoringError."""
        self._closed = True
        await asyncio.to_thread(self._tokenisers.shutdown, cancel_futures=True)
        if self._batcher is not None:
            await self._batcher.close()
        self._engine.close()


async def _unless_closed(work: Callable[[], Awaitable[T]], is_closed: Callable[[], bool]) -> T:
    """Turns a cancellation that the closing executor causes into an error, since the caller did not
    cancel."""
    try:
        return await work()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if is_closed() and (task is None or task.cancelling() == 0):
            raise ScoringError(_CLOSED) from None
        raise
    except RuntimeError as error:  # a closed executor takes no more work
        if is_closed():
            raise ScoringError(_CLOSED) from error
        raise


def build_local_scorer(
    path: Path,
    engine: str = "auto",
    *,
    options: EngineOptions | None = None,
    max_tokens: int | None = None,
    cache_size: int = 4096,
) -> LocalScorer:
    """Loads a checkpoint and warms up its engine. max_tokens: reads only that many tokens of the
    end of a prompt, where that is below the checkpoint's limit. Raises CheckpointError,
    ExtraMissingError."""
    checkpoint = load_checkpoint(path).limited(max_tokens)
    return LocalScorer.warmed(checkpoint, engine, options, cache_size=cache_size)
