"""The interface of all engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How the batcher should give work to an engine.

    batch_tokens, batch_prompts: the most that one call takes; a single prompt is always accepted.
    wait_ms: how long a batch may wait for prompts on their way; 0 where batches have no advantage.
    parallel: the number of concurrent calls. pads: whether the prompts of a batch are padded to the
    longest, so that it should have prompts of similar length. side_by_side: whether a call computes
    its prompts separately, several at a time. at_once: whether a prompt is so quick that it is
    tokenised and computed on the event loop, without a batcher.
    """

    batch_tokens: int
    batch_prompts: int
    wait_ms: float = 0.0
    parallel: int = 1
    pads: bool = False
    side_by_side: bool = False
    at_once: bool = False


class Engine(Protocol):
    """Runs a checkpoint's backbone. At most limits.parallel threads may use it at a time."""

    @property
    def limits(self) -> EngineLimits:
        """How work should be given to this engine."""

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Pooled features (B, F) of B prompts given as token ids. Raises ScoringError."""

    def warm_up(self) -> None:
        """Does the one-time work, so that the first real prompt is as fast as the second."""

    def close(self) -> None:
        """Frees memory and threads."""
