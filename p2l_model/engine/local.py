"""Scores conversations for an event loop, which must never wait for a matrix multiplication."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p2l_model.checkpoint import Checkpoint, load_checkpoint
from p2l_model.engine.base import Engine
from p2l_model.engine.load import load_engine
from p2l_model.engine.scorer import ScoredPrompt, ScorerOverloadedError
from p2l_model.errors import ScoringError
from p2l_model.types import Conversation, PromptLeaderboard


class LocalScorer:
    """Scores in a thread of its own: the engines release the interpreter while they compute."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, *, max_waiting: int = 1024) -> None:
        self._checkpoint = checkpoint
        self._engine = engine
        self._max_waiting = max_waiting
        self._waiting = 0
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="p2l-scorer")

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self._checkpoint.manifest.models)

    @property
    def marginal(self) -> PromptLeaderboard | None:
        return self._checkpoint.marginal

    async def score(self, conversation: Conversation) -> ScoredPrompt:
        """Raises ScorerOverloadedError at once where max_waiting prompts wait already, and
        ScoringError once the scorer is closed.

        A caller who gives up while waiting is not scored.
        """
        if self._closed:
            raise ScoringError("the scorer is closed")
        if self._waiting >= self._max_waiting:
            raise ScorerOverloadedError(f"{self._max_waiting} prompts wait to be scored")
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            # cancelling this future before its turn takes the work out of the thread's queue
            return await loop.run_in_executor(self._thread, self._score, conversation)
        except asyncio.CancelledError:
            if self._closed and not _caller_gave_up():
                raise ScoringError("the scorer was closed before the prompt's turn") from None
            raise
        finally:
            self._waiting -= 1

    def _score(self, conversation: Conversation) -> ScoredPrompt:
        ids = self._checkpoint.prompt.encode(conversation)
        features = self._engine.features([ids])[0]
        return ScoredPrompt(self._checkpoint.leaderboard(features), len(ids))

    def count_tokens(self, text: str) -> int:
        return self._checkpoint.prompt.count_tokens(text)

    async def close(self) -> None:
        """Finishes the prompt under way; those that wait fail with ScoringError."""
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self._engine.close()


def _caller_gave_up() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def build_local_scorer(path: Path, engine: str = "auto") -> LocalScorer:
    """Loads a checkpoint and warms its engine up. Raises CheckpointError, ExtraMissingError."""
    checkpoint = load_checkpoint(path)
    loaded = load_engine(checkpoint, engine)
    loaded.warm_up()
    return LocalScorer(checkpoint, loaded)
