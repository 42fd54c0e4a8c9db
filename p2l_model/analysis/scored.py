"""A checkpoint together with its engine: reads conversations and gives the outputs of the heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint, resolve_checkpoint
from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.engine.base import Engine
from p2l_model.engine.load import load_engine
from p2l_model.errors import DataError
from p2l_model.types import Conversation, FloatArray, PreferenceFamily

_BATCH: Final = 32
_MIN_MODELS: Final = 2


@dataclass(frozen=True, slots=True)
class PromptReader:
    """Reads prompts with a checkpoint.

    columns (M,): the indices of the checkpoint's models that are used, in this order. batch_size:
    the number of prompts given to the engine at once.
    """

    checkpoint: Checkpoint
    engine: Engine
    columns: NDArray[np.int64]
    batch_size: int = 1

    @classmethod
    def load(cls, name: str, kind: str = "auto", models: Sequence[str] | None = None) -> Self:
        """Loads checkpoint and engine by the names that the command line takes. Raises
        CheckpointError, ExtraMissingError, DataError."""
        checkpoint = load_checkpoint(resolve_checkpoint(name))
        return cls.of(checkpoint, load_engine(checkpoint, kind), models)

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, engine: Engine, models: Sequence[str] | None = None
    ) -> Self:
        """models: None for all. Raises DataError where one is unknown or there are fewer than
        two."""
        known = {name: index for index, name in enumerate(checkpoint.manifest.models)}
        chosen = list(known) if models is None else list(dict.fromkeys(models))
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise DataError(f"the checkpoint has no model {', '.join(unknown)}")
        if len(chosen) < _MIN_MODELS:
            raise DataError("a leaderboard needs at least two models")
        columns = np.array([known[name] for name in chosen], dtype=np.int64)
        return cls(checkpoint, engine, columns, _BATCH)

    @property
    def family(self) -> PreferenceFamily:
        """The checkpoint's family."""
        return self.checkpoint.manifest.family

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models that are used."""
        return tuple(self.checkpoint.manifest.models[index] for index in self.columns)

    def features(self, conversations: Sequence[Conversation]) -> FloatArray:
        """Features (P, F) of P prompts. Short prompts go first, so that batches need little
        padding.

        Raises ScoringError.
        """
        ids = [self.checkpoint.prompt.encode(conversation) for conversation in conversations]
        order = np.argsort([len(one) for one in ids], kind="stable")
        size = self.batch_size
        parts = [
            self.engine.features([ids[index] for index in order[start : start + size]])
            for start in range(0, len(ids), size)
        ]
        features = np.concatenate(parts).astype(np.float64)
        unsorted = np.empty_like(features)
        unsorted[order] = features
        return unsorted

    def outputs(self, features: FloatArray) -> HeadOutputs:
        """The outputs of the heads for features (P, F), for the models that are used."""
        heads, manifest = self.checkpoint.heads, self.checkpoint.manifest
        found = heads.outputs(features, manifest.temperature)
        return HeadOutputs(found.coefficients[:, self.columns], found.eta, found.gamma)
