"""Trains a checkpoint: frozen backbone, heads or a trunk with heads, all chosen on validation.

Resumable: features and the state of each fit are kept in a work folder beside the output.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch

from p2l_model.base import BaseModel, load_base
from p2l_model.checkpoint import load_checkpoint, save_checkpoint
from p2l_model.data import VoteTable, fingerprint, load_votes
from p2l_model.engine.load import load_engine
from p2l_model.errors import DataError
from p2l_model.evaluate import compare
from p2l_model.features import prompt_features
from p2l_model.fit import FitOptions, FitState, heads_from_rows
from p2l_model.fit_cache import cached_fit, cached_heads, digest
from p2l_model.heads import Heads
from p2l_model.lengths import (
    LengthModel,
    enough,
    fit_lengths,
    length_report,
    log_lengths,
    with_spread,
)
from p2l_model.manifest import Manifest, Marginal
from p2l_model.metrics import predict, source_mean
from p2l_model.prompt import PromptEncoder, PromptFormat
from p2l_model.targets import balanced
from p2l_model.temperature import calibrated, fit_calibration
from p2l_model.train_config import FinetuneConfig, TrainConfig, TrunkConfig
from p2l_model.trunk import Epoch, LengthTargets, TrunkFit, joined
from p2l_model.types import FloatArray

_HASH_FRACTION: Final = 16**13
# What a fine-tuned backbone depends on, beside the data and the base.
_TUNED_BY: Final = {"family", "feature_layers", "pooling", "max_tokens", "seed", "finetune"}


class Reporter(Protocol):
    """Where progress goes."""

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        """done of total of a stage; note: how it stands, such as the loss."""


@dataclass(frozen=True, slots=True)
class Split:
    """train and validation have the same models, in the same order."""

    train: VoteTable
    validation: VoteTable


@dataclass(frozen=True, slots=True)
class _Candidate:
    chosen: dict[str, float]
    heads: Heads
    validation_loss: float


def train(
    config: TrainConfig,
    train_paths: Sequence[Path],
    validation_paths: Sequence[Path],
    out: Path,
    report: Reporter,
    *,
    score_range: tuple[float, float] = (0.0, 1.0),
) -> Manifest:
    """Writes a checkpoint to out and returns its manifest, with the figures on validation.

    Raises DataError, CheckpointError, ExtraMissingError, TrainingError.
    """
    torch.manual_seed(config.seed)
    split = load_split(config, train_paths, validation_paths, score_range)
    work = out.with_name(f".{out.name}.work")
    base = load_base(config.base, work)
    models = split.train.models
    marginal = _fit(np.zeros((len(split.train.conversations), 0)), split.train, config, 1e-3, work)
    draft = _draft(config, base, models, marginal)
    if config.finetune is not None:
        base = _tuned(config, config.finetune, base, split, marginal, work, report)
    x_train, x_validation = _features(config, base, draft, split, work, report)
    best = _choose(config, split, marginal, x_train, x_validation, work, report)
    calibration = fit_calibration(config.family, best.heads, split.validation, x_validation)
    fitted = calibrated(best.heads, calibration)
    lengths = _lengths(config, split, x_train, fitted)
    manifest = draft.model_copy(
        update={
            "temperature": calibration.temperature,
            "length_sigma": None if lengths is None else lengths.sigma,
            "marginal": draft.marginal.model_copy(
                update={"mean_output_tokens": None if lengths is None else lengths.mean_tokens}
            ),
            "training_data": fingerprint(train_paths) | {"votes": len(split.train)},
        }
    )
    heads = fitted if lengths is None else lengths.heads
    figures = compare(manifest, heads, split.validation, x_validation, config.seed)
    if lengths is not None:
        figures["lengths"] = _length_reports(split, lengths, x_validation)
    chosen = best.chosen | {"config": config.model_dump(mode="json")}
    manifest = manifest.model_copy(update={"metrics": {"validation": figures, "chosen": chosen}})
    _save(out, base, manifest, heads)
    return manifest


def load_split(
    config: TrainConfig,
    train_paths: Sequence[Path],
    validation_paths: Sequence[Path],
    score_range: tuple[float, float],
) -> Split:
    """Validation from its own files, else a share of the prompts by their hash."""
    votes = load_votes(train_paths, seed=config.seed, score_range=score_range)
    if validation_paths:
        held = load_votes(validation_paths, seed=config.seed, score_range=score_range)
        return Split(votes, held.among(votes.models))
    kept = np.array([_fraction(c.turns) >= config.validation_fraction for c in votes.conversations])
    split = Split(votes.where(kept[votes.prompt]), votes.where(~kept[votes.prompt]))
    if len(split.train) == 0 or len(split.validation) == 0:
        raise DataError("too few prompts to keep some for validation: give --validation files")
    return split


def _fraction(turns: tuple[str, ...]) -> float:
    digest = hashlib.sha256(("p2l-validation|" + "\n".join(turns)).encode("utf-8", "replace"))
    return int(digest.hexdigest()[:13], 16) / _HASH_FRACTION


def _draft(
    config: TrainConfig, base: BaseModel, models: tuple[str, ...], marginal: Heads
) -> Manifest:
    """The manifest as far as it is known before the features are."""
    prompt_format = PromptFormat(base.prompt_kind, config.max_tokens)
    return Manifest(
        family=config.family,
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
    """The base after fine-tuning. Of several processes only the first returns."""
    from p2l_model.finetune import FineTune

    prompt = PromptEncoder(base.tokenizer, PromptFormat(base.prompt_kind, config.max_tokens))
    votes = balanced(split.train, config.balance)
    key = digest(np.zeros(0), votes, (config.model_dump_json(include=_TUNED_BY), base.digest))
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
    """(P, H) of both parts, through the very engine that will serve: no skew between the two."""
    width = base.width(config.feature_layers)
    n_models = len(draft.models)
    blank = heads_from_rows(config.family, np.zeros((n_models + 2, width)), np.zeros(n_models + 2))
    _save(work / "backbone", base, draft, blank)
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


def _choose(
    config: TrainConfig,
    split: Split,
    marginal: Heads,
    x_train: FloatArray,
    x_validation: FloatArray,
    work: Path,
    report: Reporter,
) -> _Candidate:
    """The linear heads of the best penalty, or a trunk's, by the validation loss."""
    if config.trunk is not None:
        return _trunk(config, config.trunk, split, marginal, x_train, x_validation, work, report)
    votes = balanced(split.train, config.balance)
    candidates = []
    for l2 in config.l2:
        heads = _fit(x_train, votes, config, l2, work, report)
        loss = _validation_loss(config, heads, split.validation, x_validation)
        report(f"heads, l2 {l2:g}", 1, 1, f"validation loss {loss:.4f}")
        candidates.append(_Candidate({"l2": l2}, heads, loss))
    return min(candidates, key=lambda candidate: candidate.validation_loss)


def _trunk(
    config: TrainConfig,
    options: TrunkConfig,
    split: Split,
    marginal: Heads,
    x_train: FloatArray,
    x_validation: FloatArray,
    work: Path,
    report: Reporter,
) -> _Candidate:
    """All members, joined; each finished one is kept."""
    votes = balanced(split.train, config.balance)
    lengths = _length_targets(split.train)
    fit = TrunkFit(x_train, votes, config.family, options, marginal, lengths)
    key = digest(x_train, votes, (config.family, options))
    members = []
    for member in range(options.members):
        seed = config.seed + member
        stage = f"trunk, member {member + 1} of {options.members}"
        on_epoch = partial(_log_epoch, work / "log.jsonl", stage, options.epochs, report)

        def judge(heads: Heads) -> float:
            return _validation_loss(config, heads, split.validation, x_validation)

        make = partial(fit.run, seed, judge, on_epoch)
        members.append(cached_heads(work / "fits" / f"{key}-{seed}.safetensors", make))
    heads = joined(members)
    loss = _validation_loss(config, heads, split.validation, x_validation)
    report("trunk", 1, 1, f"validation loss {loss:.4f}")
    return _Candidate({}, heads, loss)


def _length_targets(votes: VoteTable) -> LengthTargets | None:
    logs = enough(log_lengths(votes))
    known = ~np.isnan(logs)
    if not known.any():
        return None
    n_known = known.sum(axis=0)
    level = np.where(known, logs, 0.0).sum(axis=0) / np.maximum(n_known, 1)
    spread = max(float(np.nanstd(logs - level)), 1e-6)
    return LengthTargets((logs - level) / spread, level, spread)


def _log_epoch(path: Path, stage: str, n_epochs: int, report: Reporter, epoch: Epoch) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps({"stage": stage, **asdict(epoch)}) + "\n")
    losses = f"loss {epoch.train_loss:.4f}, validation {epoch.validation_loss:.4f}"
    report(stage, epoch.number, n_epochs, losses)


def _fit(
    features: FloatArray,
    votes: VoteTable,
    config: TrainConfig,
    l2: float,
    work: Path,
    report: Reporter | None = None,
) -> Heads:
    """One linear fit, its state on disk after every chunk of steps."""
    options = FitOptions(config.family, l2, config.l2_common, config.max_steps)

    def tell(now: FitState) -> None:
        if report is not None:
            report(f"heads, l2 {l2:g}", now.step, config.max_steps, f"loss {now.loss:.4f}")

    return cached_fit(features, votes, options, work / "fits", tell)


def _lengths(
    config: TrainConfig, split: Split, x_train: FloatArray, heads: Heads
) -> LengthModel | None:
    logs = log_lengths(split.train)
    if heads.length_weight is not None:
        return with_spread(x_train, logs, heads)
    return fit_lengths(x_train, logs, config.length_l2, heads)


def _length_reports(
    split: Split, lengths: LengthModel, x_validation: FloatArray
) -> dict[str, dict[str, float]]:
    """By source: `length_report` on the validation part."""
    reports = {}
    for source in np.unique(split.validation.source):
        train_logs = log_lengths(split.train.where(split.train.source == source))
        held = split.validation.where(split.validation.source == source)
        found = length_report(lengths, train_logs, log_lengths(held), x_validation)
        if found:
            reports[str(source)] = found
    return reports


def _validation_loss(
    config: TrainConfig, heads: Heads, votes: VoteTable, features: FloatArray
) -> float:
    """What everything is chosen by."""
    found = predict(config.family, votes, heads.outputs(features, 1.0))
    return source_mean(found.loss, votes)


def _save(out: Path, base: BaseModel, manifest: Manifest, heads: Heads) -> None:
    graph = base.graph(manifest.engine_precision, manifest.feature_layers, manifest.pooling)
    tensors: dict[str, Any] = {**base.tensors, **heads.tensors()}
    save_checkpoint(out, base=base.path, manifest=manifest, tensors=tensors, graph=graph)
