"""What every engine offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """Runs a checkpoint's backbone. Used from one thread at a time."""

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Token ids of B prompts -> pooled features (B, H). Raises ScoringError."""

    def warm_up(self) -> None:
        """Makes the first real prompt as fast as the second."""

    def close(self) -> None:
        """Gives memory back."""
