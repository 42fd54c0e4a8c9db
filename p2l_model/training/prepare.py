"""The start of every training run: the split, the backbone and its features.

A run can be resumed: features are kept in a work folder beside the output.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from p2l_model.checkpoint.folder import load_checkpoint, save_checkpoint
from p2l_model.checkpoint.heads import Heads
from p2l_model.checkpoint.manifest import STATIC, Manifest, Marginal
from p2l_model.checkpoint.tokens import PromptEncoder, PromptFormat
from p2l_model.data.files import VoteTable, load_votes
from p2l_model.data.model_names import bare
from p2l_model.data.soft_labels import collapsed
from p2l_model.engine.features import prompt_features
from p2l_model.engine.load import load_engine
from p2l_model.errors import DataError
from p2l_model.fitting.cache import cached_fit, digest
from p2l_model.fitting.config import FinetuneConfig, TrainConfig
from p2l_model.fitting.linear import FitOptions, FitState, heads_from_rows
from p2l_model.training.backbones import BaseModel, load_base
from p2l_model.training.blanks import blank_prompts, unknown_token
from p2l_model.training.run_log import Reporter, log_line
from p2l_model.training.static_base import static_base
from p2l_model.types import FloatArray

_HASH_FRACTION: Final = 16**13
_MARGINAL_L2: Final = 1e-3
# The settings that a fine-tuned backbone depends on, besides the data and the base.
_TUNED_BY: Final = {"family", "feature_layers", "pooling", "max_tokens", "seed", "finetune"}


@dataclass(frozen=True, slots=True)
class Split:
    """train and validation have the same models, in the same order. n_seen: the prompts left out of
    validation because training has them too."""

    train: VoteTable
    validation: VoteTable
    n_seen: int = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data of a training run.

    draft: the manifest with the fields known so far. marginal: one leaderboard for all prompts.
    x_train, x_validation: features (P, F) of the split's prompts; x_blanks (N, F): of blanks.
    """

    base: BaseModel
    split: Split
    marginal: Heads
    draft: Manifest
    x_train: FloatArray
    x_validation: FloatArray
    x_blanks: FloatArray | None = None


def prepare(
    config: TrainConfig,
    train_paths: Sequence[Path],
    validation_paths: Sequence[Path],
    work: Path,
    report: Reporter,
    score_range: tuple[float, float],
) -> Prepared:
    """Prepares everything except the heads. Raises DataError, CheckpointError, ExtraMissingError,
    TrainingError."""
    torch.manual_seed(config.seed)
    split = load_split(config, train_paths, validation_paths, score_range)
    if split.n_seen > 0:
        report("validation prompts left out: training has them too", split.n_seen, split.n_seen)
    base = _base(config, split, work, report)
    marginal = fit_marginal(config, split.train, work)
    if config.finetune is not None:
        base = _tuned(config, config.finetune, base, split, marginal, work, report)
    draft = _draft(config, base, split.train.models, marginal)
    x_train, x_validation = _features(config, base, draft, split, work, report)
    return Prepared(
        base, split, marginal, draft, x_train, x_validation, _blanks(config, base, work)
    )


def _blanks(config: TrainConfig, base: BaseModel, work: Path) -> FloatArray | None:
    if config.trunk is None or config.trunk.blanks == 0:
        return None
    unknown = unknown_token(base.tokenizer)
    n_tokens = int(base.config["vocab_size"])
    prompts = blank_prompts(config.trunk.blanks, n_tokens, unknown, config.seed)
    features = load_engine(load_checkpoint(work / "backbone")).features(prompts)
    return features.astype(np.float64)


def _base(config: TrainConfig, split: Split, work: Path, report: Reporter) -> BaseModel:
    if config.base != STATIC:
        return load_base(config.base, work)
    read = [split.train.conversations[index] for index in np.unique(split.train.prompt)]
    return load_base(str(static_base(config.static, read, work, report)))


def fit_marginal(config: TrainConfig, votes: VoteTable, work: Path) -> Heads:
    """Fits one leaderboard for all prompts: heads that read no features. Raises TrainingError."""
    nothing = np.zeros((len(votes.conversations), 0))
    return fit_linear(nothing, collapsed(votes), config, _MARGINAL_L2, work)


def fit_linear(
    features: FloatArray,
    votes: VoteTable,
    config: TrainConfig,
    l2: float,
    work: Path,
    report: Reporter | None = None,
) -> Heads:
    """Fits linear heads, saving the state after every chunk of steps. Raises TrainingError."""
    options = FitOptions(config.family, l2, config.l2_common, config.max_steps)

    def tell(now: FitState) -> None:
        if report is not None:
            stage = f"heads, l2 {l2:g}"
            report(stage, now.step, config.max_steps, f"loss {now.loss:.4f}")
            log_line(work, {"stage": stage, "step": now.step, "train_loss": now.loss})

    return cached_fit(features, votes, options, work / "fits", tell)


def load_split(
    config: TrainConfig,
    train_paths: Sequence[Path],
    validation_paths: Sequence[Path],
    score_range: tuple[float, float],
) -> Split:
    """Reads the votes. Validation has its own files, or else a share of the prompts, chosen by
    hash.

    Prompts of the validation files that training has too (ignoring case and white space) are left
    out. Raises DataError where either part is left without a vote that has weight.
    """
    split = _split(config, train_paths, validation_paths, score_range)
    for name, part in (("training", split.train), ("validation", split.validation)):
        if not part.weight.sum() > 0:
            raise DataError(f"every vote of the {name} part has weight 0: none would count")
    return split


def _split(
    config: TrainConfig,
    train_paths: Sequence[Path],
    validation_paths: Sequence[Path],
    score_range: tuple[float, float],
) -> Split:
    votes = load_votes(train_paths, seed=config.seed, score_range=score_range)
    if config.bare_names:
        votes = replace(votes, models=tuple(map(bare, votes.models)))
    if validation_paths:
        held = load_votes(validation_paths, seed=config.seed, score_range=score_range)
        known = held.among(votes.models)
        fresh = _unseen(known, votes)
        return Split(votes, fresh, _n_prompts(known) - _n_prompts(fresh))
    kept = np.array([_fraction(c.turns) >= config.validation_fraction for c in votes.conversations])
    split = Split(votes.where(kept[votes.prompt]), votes.where(~kept[votes.prompt]))
    if len(split.train) == 0 or len(split.validation) == 0:
        raise DataError("too few prompts to keep some for validation: give --validation files")
    return split


def _unseen(held: VoteTable, train: VoteTable) -> VoteTable:
    seen = {_normalised(train.conversations[index].turns) for index in np.unique(train.prompt)}
    fresh = np.array([_normalised(one.turns) not in seen for one in held.conversations])
    kept = held.where(fresh[held.prompt])
    if len(kept) == 0:
        raise DataError(
            "no validation vote is left: all are on prompts of the training part, or on models "
            "that it lacks"
        )
    return kept


def _n_prompts(votes: VoteTable) -> int:
    return int(np.unique(votes.prompt).size)


def _normalised(turns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(turn.split()).lower() for turn in turns)


def _fraction(turns: tuple[str, ...]) -> float:
    digest = hashlib.sha256(("p2l-validation|" + "\n".join(turns)).encode("utf-8", "replace"))
    return int(digest.hexdigest()[:13], 16) / _HASH_FRACTION


def _draft(
    config: TrainConfig, base: BaseModel, models: tuple[str, ...], marginal: Heads
) -> Manifest:
    """The manifest, with the fields that are known before the features."""
    prompt_format = PromptFormat(base.prompt_kind, config.max_tokens)
    return Manifest(
        family=config.family,
        kind=base.kind,
        backbone=base.name,
        pooling=config.pooling,
        feature_layers=config.feature_layers,
        max_tokens=config.max_tokens,
        prompt_format=prompt_format.kind,
        prompt_format_hash=PromptEncoder(base.tokenizer, prompt_format).hash,
        models=list(models),
        engine_precision=config.engine_precision,
        marginal=Marginal(
            coefficients=marginal.bias.tolist(),
            eta=marginal.eta_bias,
            gamma=marginal.gamma_bias,
        ),
        training_data={"p2l_router": version("p2l-router")},
    )


def _tuned(
    config: TrainConfig,
    options: FinetuneConfig,
    base: BaseModel,
    split: Split,
    marginal: Heads,
    work: Path,
    report: Reporter,
) -> BaseModel:
    """The base after fine-tuning. With several processes only the first one returns."""
    from p2l_model.training.finetune import FineTune

    prompt = PromptEncoder(base.tokenizer, PromptFormat(base.prompt_kind, config.max_tokens))
    votes = config.weighted(split.train)
    judges = digest(np.zeros(0), config.weighted(split.validation), None)
    depends = (config.model_dump_json(include=_TUNED_BY), base.digest, judges)
    key = digest(np.zeros(0), votes, depends)
    folder = work / f"finetune-{key}"
    run = FineTune(base, config, options, prompt, votes, marginal, folder, report)
    tuned = run.run(split.validation)
    if not run.is_main:
        raise SystemExit(0)
    return replace(load_base(str(tuned)), name=base.name)


def _features(
    config: TrainConfig,
    base: BaseModel,
    draft: Manifest,
    split: Split,
    work: Path,
    report: Reporter,
) -> tuple[FloatArray, FloatArray]:
    """Features (P, F) of both parts, computed by the engine that will serve, so that there is no
    skew between training and serving."""
    width = base.width(config.feature_layers, config.pooling)
    n_models = len(draft.models)
    blank = heads_from_rows(config.family, np.zeros((n_models + 2, width)), np.zeros(n_models + 2))
    save(work / "backbone", base, draft, blank)
    checkpoint = load_checkpoint(work / "backbone")
    engine = load_engine(checkpoint)
    key = json.dumps([base.digest, config.feature_layers, config.engine_precision, config.pooling])
    parts = []
    for name, votes in (("train", split.train), ("validation", split.validation)):
        stage = f"features of {name} prompts"
        parts.append(
            prompt_features(
                votes.conversations,
                checkpoint.prompt,
                engine,
                partial(report, stage),
                cache=work / "features",
                cache_key=key + draft.prompt_format_hash,
            )
        )
    return parts[0], parts[1]


def save(out: Path, base: BaseModel, manifest: Manifest, heads: Heads) -> None:
    """Writes the checkpoint. Raises CheckpointError."""
    graph = base.graph(
        manifest.engine_precision, manifest.feature_layers, manifest.pooling, manifest.max_tokens
    )
    tensors: dict[str, Any] = {**base.tensors, **heads.tensors()}
    save_checkpoint(out, base=base.path, manifest=manifest, tensors=tensors, graph=graph)
