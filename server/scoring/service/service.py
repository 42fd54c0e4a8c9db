"""The model service's state: the engine is loaded while the process already answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from p2l_model.checkpoint.folder import Checkpoint
from p2l_model.engine.local import LocalScorer
from p2l_model.engine.scorer import ScoredPrompt, ScorerOverloadedError
from p2l_model.errors import P2LError, ScoringError
from p2l_model.types import Conversation
from server.auth.authenticator import Authenticator
from server.errors import ApiError, OverloadedError
from server.process.heavy import Heavy
from server.scoring.service.metrics import ServiceMetrics


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Limits: max_body_bytes of a request; max_conversations of one /v1/score."""

    max_body_bytes: int = 20_000_000
    max_conversations: int = 1024


@dataclass(slots=True)
class ModelService:
    """The model service. checkpoint: the checkpoint that it serves. load: makes its scorer and
    warms it up, in a thread. failed: called with the reason where that fails."""

    checkpoint: Checkpoint
    load: Callable[[ServiceMetrics], LocalScorer]
    authenticator: Authenticator
    limits: ServiceLimits
    failed: Callable[[P2LError], None]
    heavy: Heavy = field(default_factory=Heavy)
    metrics: ServiceMetrics = field(init=False)
    _scorer: LocalScorer | None = field(init=False, default=None)
    _draining: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.metrics = ServiceMetrics(lambda: self._scorer.n_waiting if self._scorer else 0)

    @property
    def is_ready(self) -> bool:
        """Whether the engine is warm and the service is not stopping."""
        return self._scorer is not None and not self._draining

    def start(self) -> None:
        """Begins to load, in a daemon thread: a stop must not wait minutes for a GPU to be
        filled."""
        loop = asyncio.get_running_loop()

        def work() -> None:
            outcome = self._loaded()
            with suppress(RuntimeError):  # the loop is closed: the service was stopped
                loop.call_soon_threadsafe(self._accept, outcome)

        threading.Thread(target=work, name="p2l-load", daemon=True).start()

    def _loaded(self) -> LocalScorer | P2LError:
        try:
            return self.load(self.metrics)
        except P2LError as error:
            return error
        except Exception as error:  # errors of a driver or of vLLM have no common base class
            return P2LError(f"the engine could not be loaded: {type(error).__name__}: {error}")

    def _accept(self, outcome: LocalScorer | P2LError) -> None:
        if isinstance(outcome, P2LError):
            self.failed(outcome)
        else:
            self._scorer = outcome

    async def stop(self) -> None:
        """Waits for prompts in progress."""
        self._draining = True
        if self._scorer is not None:
            await self._scorer.close()

    async def score(self, conversations: Sequence[Conversation]) -> list[ScoredPrompt]:
        """Scores conversations, in order. A queue that cannot take all of them takes none.

        Raises OverloadedError.
        """
        scorer = self._scorer
        if scorer is None or self._draining:
            raise OverloadedError("The model is not ready.", 2.0)
        try:
            scorer.make_room(len(conversations))
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(scorer.score(one)) for one in conversations]
        except ScorerOverloadedError as error:
            raise _too_many(error) from error
        except ExceptionGroup as failures:
            raise _first(failures) from failures
        return [task.result() for task in tasks]


def _too_many(error: ScorerOverloadedError) -> OverloadedError:
    return OverloadedError(f"The queue is full: {error}.", error.retry_after_s)


def _first(failures: ExceptionGroup[Exception]) -> Exception:
    """One of the failures; the queue's refusal takes precedence."""
    for failure in failures.exceptions:
        if isinstance(failure, ScorerOverloadedError):
            return _too_many(failure)
    first = failures.exceptions[0]
    if isinstance(first, ScoringError):
        return ApiError("The prompt could not be scored.", code="scoring_failed")
    return first
