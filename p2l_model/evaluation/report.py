"""Evaluates a checkpoint against the marginal leaderboard fitted on the same training votes, and
against one leaderboard per category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.folder import Checkpoint
from p2l_model.checkpoint.heads import HeadOutputs, Heads
from p2l_model.checkpoint.manifest import Manifest
from p2l_model.data.files import VoteTable
from p2l_model.engine.base import Engine
from p2l_model.engine.features import Progress, Scored, score
from p2l_model.errors import DataError
from p2l_model.evaluation.calibration import calibration_table, outcome_table
from p2l_model.evaluation.category_baseline import CategoryLeaderboards
from p2l_model.evaluation.metrics import Predictions, loss_difference, predict, summary
from p2l_model.types import FloatArray


def evaluate(
    checkpoint: Checkpoint, engine: Engine, votes: VoteTable, progress: Progress, seed: int = 0
) -> dict[str, Any]:
    """The report on votes whose prompts are not scored yet. Raises DataError, ScoringError."""
    known = known_votes(checkpoint, votes)
    return report(score(checkpoint, engine, known, progress), votes, seed)


def known_votes(checkpoint: Checkpoint, votes: VoteTable) -> VoteTable:
    """The votes between models that the checkpoint knows. Raises DataError where there are none."""
    known = votes.among(checkpoint.manifest.models)
    if len(known) == 0:
        raise DataError("no vote is between two models that the checkpoint knows")
    return known


def report(
    scored: Scored,
    votes: VoteTable,
    seed: int = 0,
    categories: CategoryLeaderboards | None = None,
) -> dict[str, Any]:
    """The report of `p2l-router evaluate`.

    It has `compare`'s figures, with calibration (a `calibration_table`) and outcomes (an
    `outcome_table`). Votes with models that the checkpoint does not know are left out and counted
    in n_skipped. categories: the baseline for per_category_baseline, which is left out without it.
    Raises DataError where no vote is left.
    """
    manifest, heads = scored.checkpoint.manifest, scored.checkpoint.heads
    known = known_votes(scored.checkpoint, votes)
    figures = compare(manifest, heads, known, scored.features, seed, categories)
    outputs = heads.outputs(scored.features, manifest.temperature)
    return {
        "n": len(known),
        "n_skipped": len(votes) - len(known),
        **figures,
        "outcomes": outcome_table(manifest.family, known, outputs),
        "calibration": calibration_table(predict(manifest.family, known, outputs), known),
    }


def compare(
    manifest: Manifest,
    heads: Heads,
    votes: VoteTable,
    features: FloatArray,
    seed: int,
    categories: CategoryLeaderboards | None = None,
) -> dict[str, Any]:
    """The figures on votes between the manifest's models, in its order: overall, by_source and
    by_category. features (P, F): of the votes' prompts."""
    ours = predict(manifest.family, votes, heads.outputs(features, manifest.temperature))
    told = None if categories is None else categories.predict(votes)
    judged = _Judged(votes, ours, _marginal(manifest, votes), told, seed)
    figures = judged.part(np.ones(len(votes), dtype=np.bool_))
    if categories is not None:
        figures["per_category_baseline"] |= {
            "n_categories": len(categories.rows),
            "n_unseen": categories.n_unseen(votes),
        }
    for key, labels in (("by_source", votes.source), ("by_category", votes.category)):
        figures[key] = {str(name): judged.part(labels == name) for name in np.unique(labels)}
    return {"n": len(votes), "family": manifest.family.value} | figures


@dataclass(frozen=True, slots=True)
class _Judged:
    """Votes with the predictions of the checkpoint and of the baselines."""

    votes: VoteTable
    ours: Predictions
    marginal: Predictions
    per_category: Predictions | None
    seed: int

    def part(self, keep: NDArray[np.bool_]) -> dict[str, Any]:
        """The figures for the votes to keep."""
        figures: dict[str, Any] = {
            "n": int(keep.sum()),
            "n_prompts": int(np.unique(self.votes.prompt[keep]).size),
            **summary(_only(self.ours, keep), self.votes.weight[keep]),
            "baseline": {
                "n": int(keep.sum()),
                **summary(_only(self.marginal, keep), self.votes.weight[keep]),
            },
            **self._ahead_of(self.marginal, keep),
        }
        if self.per_category is not None:
            told = summary(_only(self.per_category, keep), self.votes.weight[keep])
            figures["per_category_baseline"] = told | self._ahead_of(self.per_category, keep)
        return figures

    def _ahead_of(self, other: Predictions, keep: NDArray[np.bool_]) -> dict[str, Any]:
        weight, prompt = self.votes.weight[keep], self.votes.prompt[keep]
        return loss_difference(self.ours.loss[keep], other.loss[keep], weight, prompt, self.seed)


def _only(predictions: Predictions, keep: NDArray[np.bool_]) -> Predictions:
    return Predictions(predictions.loss[keep], predictions.p_a[keep], predictions.outcome_a[keep])


def _marginal(manifest: Manifest, votes: VoteTable) -> Predictions:
    marginal = manifest.marginal
    outputs = constant_outputs(marginal.coefficients, marginal.eta, marginal.gamma, votes)
    return predict(manifest.family, votes, outputs)


def constant_outputs(
    coefficients: Sequence[float], eta: float | None, gamma: float | None, votes: VoteTable
) -> HeadOutputs:
    """The outputs of a constant leaderboard for each of the votes' prompts."""
    n_prompts = len(votes.conversations)
    return HeadOutputs(
        np.tile(np.array(coefficients, dtype=np.float64), (n_prompts, 1)),
        np.full(n_prompts, 0.0 if eta is None else eta),
        np.full(n_prompts, 0.0 if gamma is None else gamma),
    )
