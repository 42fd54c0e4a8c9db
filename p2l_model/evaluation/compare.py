"""Compares two checkpoints on the votes between models that both know, with a confidence
interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.folder import Checkpoint
from p2l_model.data.files import VoteTable
from p2l_model.engine.features import Scored
from p2l_model.errors import DataError
from p2l_model.evaluation.metrics import binary_loss, loss_difference, predict
from p2l_model.preference import outcomes
from p2l_model.types import FloatArray


@dataclass(frozen=True, slots=True)
class _Losses:
    """The losses (N,) of N votes by the first and the second checkpoint."""

    votes: VoteTable
    first: FloatArray
    second: FloatArray


def common_votes(first: Checkpoint, second: Checkpoint, votes: VoteTable) -> VoteTable:
    """The votes between models that both checkpoints know. Raises DataError without any."""
    also = set(second.manifest.models)
    common = votes.among([name for name in first.manifest.models if name in also])
    if len(common) == 0:
        raise DataError("no vote is between two models that both checkpoints know")
    return common


def compare_checkpoints(
    first: Scored, second: Scored, votes: VoteTable, seed: int
) -> dict[str, Any]:
    """Returns metric, n, n_prompts, n_skipped, log_loss ({first, second}), delta_log_loss (first -
    second) and delta_ci95 over prompts, and by_source with the same.

    metric: log_loss where both families have the same outcomes, else log_loss_binary (ties as half
    a win), the only one that both have in common. features: of the votes' P prompts. Raises
    DataError where no vote is between models that both checkpoints know.
    """
    common = common_votes(first.checkpoint, second.checkpoint, votes)
    kinds = [outcomes(one.checkpoint.manifest.family) for one in (first, second)]
    binary = kinds[0] != kinds[1]
    losses = _Losses(common, _loss(first, common, binary), _loss(second, common, binary))
    report = {
        "metric": "log_loss_binary" if binary else "log_loss",
        **_part(losses, np.ones(len(common), dtype=np.bool_), seed),
        "n_skipped": len(votes) - len(common),
    }
    sources = np.unique(common.source)
    parts = {str(name): _part(losses, common.source == name, seed) for name in sources}
    return report | {"by_source": parts}


def _loss(scored: Scored, votes: VoteTable, binary: bool) -> FloatArray:
    manifest = scored.checkpoint.manifest
    outputs = scored.checkpoint.heads.outputs(scored.features, manifest.temperature)
    predictions = predict(manifest.family, votes.among(manifest.models), outputs)
    return binary_loss(predictions) if binary else predictions.loss


def _part(losses: _Losses, keep: NDArray[np.bool_], seed: int) -> dict[str, Any]:
    votes = losses.votes.where(keep)
    first, second = losses.first[keep], losses.second[keep]
    total = votes.weight.sum()
    means = {
        name: float((votes.weight * loss).sum() / total) if total > 0 else None
        for name, loss in (("first", first), ("second", second))
    }
    return {
        "n": len(votes),
        "n_prompts": int(np.unique(votes.prompt).size),
        "log_loss": means,
        **loss_difference(first, second, votes.weight, votes.prompt, seed),
    }
