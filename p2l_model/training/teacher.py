"""What a second checkpoint, the teacher, says of the training prompts (knowledge distillation).

A vote is one draw from a distribution that the teacher knows something of: it has read the words in
their order, which static features cannot. So the targets become a mixture of what was observed and
what the teacher predicts. Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint, resolve_checkpoint
from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.data.files import VoteTable
from p2l_model.data.model_names import columns
from p2l_model.data.soft_labels import target_matrix
from p2l_model.engine.features import prompt_features
from p2l_model.engine.load import load_engine
from p2l_model.errors import DataError
from p2l_model.evaluation.metrics import outcome_log_probabilities
from p2l_model.fitting.config import TrunkConfig
from p2l_model.training.run_log import Reporter
from p2l_model.types import FloatArray, PreferenceFamily


@dataclass(frozen=True, slots=True)
class Lesson:
    """targets (N, K): of the votes, None for their outcomes; scores (P, M): of the graded answers,
    NaN where none is. teacher: the digest of its weights, empty without one."""

    targets: FloatArray | None
    scores: FloatArray | None
    teacher: str = ""


def taught(
    options: TrunkConfig,
    family: PreferenceFamily,
    votes: VoteTable,
    scores: FloatArray | None,
    work: Path,
    report: Reporter,
) -> Lesson:
    """The targets, with the share of the teacher's predictions that the options ask for. scores
    (P, M): the graded answers. Raises DataError where the teacher lacks a model or is of another
    family, CheckpointError, ScoringError."""
    if options.teacher is None:
        return Lesson(None, scores)
    checkpoint = load_checkpoint(resolve_checkpoint(options.teacher))
    order = _order(options.teacher, checkpoint, family, votes)
    weights = hashlib.sha256((checkpoint.path / "model.safetensors").read_bytes()).hexdigest()
    x = _features(checkpoint, weights, votes, work, report)
    found = checkpoint.heads.outputs(x, checkpoint.manifest.temperature)
    outputs = HeadOutputs(found.coefficients[:, order], found.eta, found.gamma)
    said = np.exp(outcome_log_probabilities(family, votes, outputs))
    share = _shares(options, votes)
    of_vote = share[votes.prompt][:, None]
    targets = (1 - of_vote) * target_matrix(family, votes) + of_vote * said
    expected = checkpoint.heads.expected_scores(x)
    if scores is not None and expected is not None:
        scores = (1 - share[:, None]) * scores + share[:, None] * expected[:, order]
    return Lesson(targets, scores, weights)


def _shares(options: TrunkConfig, votes: VoteTable) -> FloatArray:
    """The teacher's share on each prompt (P,)."""
    learns = np.ones(len(votes), dtype=np.bool_)
    if options.teacher_sources is not None:
        learns = np.isin(votes.source, options.teacher_sources)
    share = np.zeros(len(votes.conversations))
    share[votes.prompt[learns]] = options.teacher_share
    return share


def _order(
    teacher: str, checkpoint: Checkpoint, family: PreferenceFamily, votes: VoteTable
) -> list[int]:
    if checkpoint.manifest.family is not family:
        theirs = checkpoint.manifest.family
        raise DataError(
            f"the teacher {teacher} is of the family {theirs}; train with --family {theirs}"
        )
    order = columns(votes.models, checkpoint.manifest.models)
    lacking = [name for name, at in zip(votes.models, order, strict=True) if at < 0]
    if lacking:
        raise DataError(f"the teacher {teacher} lacks {len(lacking)} models, as {lacking[0]}")
    return order


def _features(
    checkpoint: Checkpoint, weights: str, votes: VoteTable, work: Path, report: Reporter
) -> FloatArray:
    return prompt_features(
        votes.conversations,
        checkpoint.prompt,
        load_engine(checkpoint),
        partial(report, "features of the teacher"),
        cache=work / "features",
        cache_key=weights + checkpoint.manifest.prompt_format_hash,
    )
