"""What every engine offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How an engine wants its work, which the batcher keeps to.

    batch_tokens, batch_prompts: the most that one call takes; a single prompt always goes.
    wait_ms: how long a batch may wait to fill up while others are on their way; 0 where a batch
    gains nothing. parallel: how many calls may run at a time. pads: whether a batch's prompts are
    padded to the longest, so that prompts of like length belong together. side_by_side: whether a
    call with many prompts computes each alone, several at a time.
    """

    batch_tokens: int
    batch_prompts: int
    wait_ms: float = 0.0
    parallel: int = 1
    pads: bool = False
    side_by_side: bool = False


class Engine(Protocol):
    """Runs a checkpoint's backbone. Used from limits.parallel threads at a time."""

    @property
    def limits(self) -> EngineLimits:
        """How it wants its work."""

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Token ids of B prompts -> pooled features (B, H). Raises ScoringError."""

    def warm_up(self) -> None:
        """Makes the first real prompt as fast as the second."""

    def close(self) -> None:
        """Gives memory back."""
