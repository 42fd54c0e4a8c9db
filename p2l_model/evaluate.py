"""Evaluation against the marginal leaderboard that was fitted on the same training votes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from p2l_model.checkpoint import Checkpoint
from p2l_model.data import VoteTable
from p2l_model.engine.base import Engine
from p2l_model.errors import DataError
from p2l_model.features import Progress, prompt_features
from p2l_model.heads import HeadOutputs, Heads
from p2l_model.manifest import Manifest
from p2l_model.metrics import Predictions, predict, prompt_bootstrap, summary
from p2l_model.types import FloatArray


def evaluate(
    checkpoint: Checkpoint, engine: Engine, votes: VoteTable, progress: Progress, seed: int = 0
) -> dict[str, Any]:
    """The report of `p2l-router evaluate` (interface, sections 3 and 7).

    Votes with models that the checkpoint does not know are left out and counted in n_skipped.
    Raises DataError where none is left.
    """
    known = votes.among(checkpoint.manifest.models)
    if len(known) == 0:
        raise DataError("no vote is between two models that the checkpoint knows")
    features = _features(checkpoint, engine, known, progress)
    report = compare(checkpoint.manifest, checkpoint.heads, known, features, seed)
    return {"n": len(known), "n_skipped": len(votes) - len(known)} | report


def compare(
    manifest: Manifest, heads: Heads, votes: VoteTable, features: FloatArray, seed: int
) -> dict[str, Any]:
    """The figures on votes between the manifest's models. features: (P, H) of their prompts."""
    ours = _ours(manifest, heads, votes, features)
    baseline = _marginal(manifest, votes)
    everything = np.ones(len(votes), dtype=np.bool_)
    report = _part(votes, ours, baseline, everything, seed)
    for key, labels in (("by_source", votes.source), ("by_category", votes.category)):
        report[key] = {
            str(name): _part(votes, ours, baseline, labels == name, seed)
            for name in np.unique(labels)
        }
    return {"n": len(votes), "family": manifest.family.value} | report


def _part(
    votes: VoteTable, ours: Predictions, baseline: Predictions, keep: Any, seed: int
) -> dict[str, Any]:
    """The figures of some of the votes."""
    weight = votes.weight[keep]
    difference = ours.loss[keep] - baseline.loss[keep]
    figures = summary(_only(ours, keep), weight)
    total = float(weight.sum())
    return {
        "n": int(keep.sum()),
        "n_prompts": int(np.unique(votes.prompt[keep]).size),
        **figures,
        "baseline": summary(_only(baseline, keep), weight),
        "delta_log_loss": float((weight * difference).sum()) / total if total > 0 else None,
        "delta_ci95": prompt_bootstrap(difference, weight, votes.prompt[keep], seed),
    }


def _only(predictions: Predictions, keep: Any) -> Predictions:
    return Predictions(predictions.loss[keep], predictions.p_a[keep], predictions.outcome_a[keep])


def _ours(manifest: Manifest, heads: Heads, votes: VoteTable, features: FloatArray) -> Predictions:
    return predict(manifest.family, votes, heads.outputs(features, manifest.temperature))


def _marginal(manifest: Manifest, votes: VoteTable) -> Predictions:
    marginal = manifest.marginal
    outputs = constant_outputs(marginal.coefficients, marginal.eta, marginal.gamma, votes)
    return predict(manifest.family, votes, outputs)


def constant_outputs(
    coefficients: Sequence[float], eta: float | None, gamma: float | None, votes: VoteTable
) -> HeadOutputs:
    """The same leaderboard for each of the votes' prompts."""
    n_prompts = len(votes.conversations)
    return HeadOutputs(
        np.tile(np.array(coefficients, dtype=np.float64), (n_prompts, 1)),
        np.full(n_prompts, 0.0 if eta is None else eta),
        np.full(n_prompts, 0.0 if gamma is None else gamma),
    )


def _features(
    checkpoint: Checkpoint, engine: Engine, votes: VoteTable, progress: Progress
) -> FloatArray:
    """(P, H); prompts without a vote that counts are not scored and stay zero."""
    used = np.unique(votes.prompt)
    scored = prompt_features(
        [votes.conversations[index] for index in used], checkpoint.prompt, engine, progress
    )
    features = np.zeros((len(votes.conversations), scored.shape[1]))
    features[used] = scored
    return features
