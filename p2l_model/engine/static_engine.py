"""The engine of static checkpoints: rows of a table, their mean and maximum, in numpy.

A prompt takes tens of microseconds, so that it is computed where it is asked for: handing it to a
thread would take longer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.folder import Checkpoint
from p2l_model.checkpoint.manifest import STATIC
from p2l_model.checkpoint.static_table import StaticTable
from p2l_model.engine.base import EngineLimits
from p2l_model.errors import CheckpointError, ScoringError


class StaticEngine:
    """Looks tokens up in the checkpoint's table."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises CheckpointError where the checkpoint has no table."""
        if checkpoint.manifest.kind != STATIC:
            raise CheckpointError(
                f"{checkpoint.path} has layers and no table of token vectors; use --engine auto"
            )
        self._table = StaticTable.of(checkpoint.tensors)
        self._pooling = checkpoint.manifest.pooling

    @property
    def limits(self) -> EngineLimits:
        """One prompt per call, at once."""
        return EngineLimits(batch_tokens=1, batch_prompts=1, at_once=True)

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Features (B, F) of B prompts given as token ids. Raises ScoringError."""
        try:
            return np.stack([self._table.features(ids, self._pooling) for ids in batch])
        except (IndexError, ValueError) as error:
            raise ScoringError("a prompt has tokens that the table lacks") from error

    def warm_up(self) -> None:
        """Runs once: the first product of a matrix takes longer."""
        self.features([[0] * 8])

    def close(self) -> None:
        """Has nothing to free."""
