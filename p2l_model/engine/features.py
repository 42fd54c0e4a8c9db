"""The backbone's features of many prompts, with progress, and saved on disk so that a killed run
can continue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.folder import Checkpoint
from p2l_model.checkpoint.tokens import PromptEncoder
from p2l_model.data.files import VoteTable
from p2l_model.engine.base import Engine
from p2l_model.types import Conversation, FloatArray

_SHARD: Final = 512
_SIDE_BY_SIDE: Final = 64

# Called with (done, total) prompts.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """A checkpoint and the features (P, F) that its backbone computes for P prompts."""

    checkpoint: Checkpoint
    features: FloatArray


def score(checkpoint: Checkpoint, engine: Engine, votes: VoteTable, progress: Progress) -> Scored:
    """Computes the features of the votes' P prompts; prompts without a vote are skipped and stay
    zero."""
    used = np.unique(votes.prompt)
    scored = prompt_features(
        [votes.conversations[index] for index in used], checkpoint.prompt, engine, progress
    )
    features = np.zeros((len(votes.conversations), scored.shape[1]))
    features[used] = scored
    return Scored(checkpoint, features)


def prompt_features(
    conversations: Sequence[Conversation],
    prompt: PromptEncoder,
    engine: Engine,
    progress: Progress,
    *,
    cache: Path | None = None,
    cache_key: str = "",
) -> FloatArray:
    """Features (P, F) in the order given. cache: a folder for finished shards of prompts;
    cache_key: everything else that the features depend on (backbone, layers)."""
    shards: list[NDArray[np.float32]] = []
    for start in range(0, len(conversations), _SHARD):
        ids = [prompt.encode(c) for c in conversations[start : start + _SHARD]]
        path = None if cache is None else cache / f"{_digest(ids, cache_key)}.npy"
        shards.append(_shard(ids, engine, path))
        progress(min(start + _SHARD, len(conversations)), len(conversations))
    return np.concatenate(shards).astype(np.float64)


def _shard(ids: Sequence[Sequence[int]], engine: Engine, path: Path | None) -> NDArray[np.float32]:
    if path is not None and path.exists():
        stored: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return stored
    # Otherwise each prompt is computed alone: a batch would bring no gain, but padding and
    # different rounding.
    size = _SIDE_BY_SIDE if engine.limits.side_by_side else 1
    parts = [engine.features(ids[start : start + size]) for start in range(0, len(ids), size)]
    features = np.concatenate(parts)
    if path is not None:
        _write(path, features)
    return features


def _write(path: Path, features: NDArray[np.float32]) -> None:
    """Writes atomically: a kill in the middle leaves no partial shard."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, features)
    partial.rename(path)


def _digest(ids: Sequence[Sequence[int]], cache_key: str) -> str:
    digest = hashlib.sha256(cache_key.encode())
    for prompt in ids:
        digest.update(np.asarray([len(prompt), *prompt], dtype=np.int64).tobytes())
    return digest.hexdigest()[:32]
