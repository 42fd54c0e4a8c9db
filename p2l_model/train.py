"""Trains a checkpoint: frozen backbone, linear heads, everything chosen on validation.

Resumable: features and the state of each fit are kept in a work folder beside the output.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
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
from p2l_model.fit import FitOptions, FitState, FittedHeads, HeadFit
from p2l_model.heads import ETA_FAMILIES, Heads
from p2l_model.lengths import LengthHead, fit_lengths
from p2l_model.manifest import Manifest, Marginal
from p2l_model.metrics import predict
from p2l_model.preference import TRAINABLE
from p2l_model.prompt import TURNS_SEP, PromptEncoder, PromptFormat
from p2l_model.targets import balanced
from p2l_model.train_config import TrainConfig
from p2l_model.types import FloatArray

_TEMPERATURES: Final = np.exp(np.linspace(math.log(0.5), math.log(2.0), 81))
_HASH_FRACTION: Final = 16**13
_CHUNK: Final = 20


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
    l2: float
    heads: FittedHeads
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
    if config.family not in TRAINABLE:
        raise DataError(f"--family {config.family}: this version trains {', '.join(TRAINABLE)}")
    torch.manual_seed(config.seed)
    split = load_split(config, train_paths, validation_paths, score_range)
    base = load_base(config.base)
    work = out.with_name(f".{out.name}.work")
    models = split.train.models
    marginal = _fit(np.zeros((len(split.train.conversations), 0)), split.train, config, 1e-3, work)
    draft = _draft(config, base, models, marginal)
    x_train, x_validation = _features(config, base, draft, split, work, report)
    best = _choose(config, split, x_train, x_validation, work, report)
    temperature = _temperature(config, best.heads, split.validation, x_validation)
    lengths = fit_lengths(x_train, split.train, config.length_l2)
    manifest = draft.model_copy(
        update={
            "temperature": temperature,
            "length_sigma": None if lengths is None else lengths.sigma,
            "marginal": draft.marginal.model_copy(
                update={"mean_output_tokens": None if lengths is None else lengths.mean_tokens}
            ),
            "training_data": fingerprint(train_paths) | {"votes": len(split.train)},
        }
    )
    heads = _joined(config, best.heads, lengths)
    figures = compare(manifest, heads, split.validation, x_validation, config.seed)
    chosen = {"l2": best.l2, "config": config.model_dump(mode="json")}
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
    config: TrainConfig, base: BaseModel, models: tuple[str, ...], marginal: FittedHeads
) -> Manifest:
    """The manifest as far as it is known before the features are."""
    prompt_format = PromptFormat(TURNS_SEP, config.max_tokens)
    eta = marginal.eta_bias if config.family in ETA_FAMILIES else None
    return Manifest(
        family=config.family,
        backbone=base.name,
        feature_layers=config.feature_layers,
        max_tokens=config.max_tokens,
        prompt_format=TURNS_SEP,
        prompt_format_hash=PromptEncoder(base.tokenizer, prompt_format).hash,
        models=list(models),
        engine_precision=config.engine_precision,
        marginal=Marginal(coefficients=marginal.bias.tolist(), eta=eta),
        training_data={"p2l_router": version("p2l-router")},
    )


def _features(
    config: TrainConfig,
    base: BaseModel,
    draft: Manifest,
    split: Split,
    work: Path,
    report: Reporter,
) -> tuple[FloatArray, FloatArray]:
    """(P, H) of both parts, through the very engine that will serve: no skew between the two."""
    width = int(base.config["hidden_size"]) * len(config.feature_layers)
    n_models = len(draft.models)
    eta = np.zeros(width) if config.family in ETA_FAMILIES else None
    blank = Heads(np.zeros((n_models, width)), np.zeros(n_models), eta, 0.0)
    _save(work / "backbone", base, draft, blank)
    checkpoint = load_checkpoint(work / "backbone")
    engine = load_engine(checkpoint, "onnx")
    key = json.dumps([base.name, config.feature_layers, config.engine_precision])
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
    x_train: FloatArray,
    x_validation: FloatArray,
    work: Path,
    report: Reporter,
) -> _Candidate:
    """The penalty with the lowest validation loss, averaged over the sources."""
    votes = balanced(split.train, config.balance)
    candidates = []
    for l2 in config.l2:
        heads = _fit(x_train, votes, config, l2, work, report)
        loss = _source_mean(config, heads, split.validation, x_validation, 1.0)
        report(f"heads, l2 {l2:g}", 1, 1, f"validation loss {loss:.4f}")
        candidates.append(_Candidate(l2, heads, loss))
    return min(candidates, key=lambda candidate: candidate.validation_loss)


def _fit(
    features: FloatArray,
    votes: VoteTable,
    config: TrainConfig,
    l2: float,
    work: Path,
    report: Reporter | None = None,
) -> FittedHeads:
    """One fit, its state on disk after every chunk of steps."""
    options = FitOptions(config.family, l2, config.l2_common, config.max_steps)
    fit = HeadFit(features, votes, options)
    path = work / "fits" / f"{_fit_digest(features, votes, options)}.npz"
    state = _stored_state(path) or fit.start()

    def keep(now: FitState) -> None:
        _store_state(path, now)
        if report is not None:
            report(f"heads, l2 {l2:g}", now.step, config.max_steps, f"loss {now.loss:.4f}")

    fit.run(state, config.max_steps - state.step, keep)
    return fit.heads(state)


def _fit_digest(features: FloatArray, votes: VoteTable, options: FitOptions) -> str:
    digest = hashlib.sha256(repr((options, votes.models)).encode())
    for array in (features, votes.prompt, votes.model_a, votes.model_b, votes.outcome):
        digest.update(np.ascontiguousarray(array).tobytes())
    for weights in (votes.p_model_a, votes.weight):
        digest.update(weights.tobytes())
    return digest.hexdigest()[:32]


def _stored_state(path: Path) -> FitState | None:
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as stored:
        parameters = torch.from_numpy(stored["parameters"])
        step, loss = int(stored["step"]), float(stored["loss"])
        return FitState(parameters, step, loss, bool(stored["converged"]))


def _store_state(path: Path, state: FitState) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".partial")
    with fresh.open("wb") as file:
        np.savez(
            file,
            parameters=state.parameters.numpy(),
            step=state.step,
            loss=state.loss,
            converged=state.converged,
        )
    fresh.rename(path)


def _temperature(
    config: TrainConfig, heads: FittedHeads, validation: VoteTable, features: FloatArray
) -> float:
    """The one scale of all coefficients that fits validation best."""
    losses = [_source_mean(config, heads, validation, features, t) for t in _TEMPERATURES]
    return round(float(_TEMPERATURES[int(np.argmin(losses))]), 4)


def _source_mean(
    config: TrainConfig,
    heads: FittedHeads,
    votes: VoteTable,
    features: FloatArray,
    temperature: float,
) -> float:
    """Mean loss per source, then over sources: a large set does not outvote the small ones."""
    coefficients = (features @ heads.weight.T + heads.bias) / temperature
    eta = features @ heads.eta_weight + heads.eta_bias
    loss = predict(config.family, votes, coefficients, eta).loss
    return float(np.mean([loss[votes.source == name].mean() for name in np.unique(votes.source)]))


def _joined(config: TrainConfig, fitted: FittedHeads, lengths: LengthHead | None) -> Heads:
    with_eta = config.family in ETA_FAMILIES
    return Heads(
        fitted.weight,
        fitted.bias,
        fitted.eta_weight if with_eta else None,
        fitted.eta_bias if with_eta else None,
        None if lengths is None else lengths.weight,
        None if lengths is None else lengths.bias,
    )


def _save(out: Path, base: BaseModel, manifest: Manifest, heads: Heads) -> None:
    graph = base.graph(manifest.engine_precision, manifest.feature_layers)
    tensors: dict[str, Any] = {**base.tensors, **heads.tensors()}
    save_checkpoint(out, base=base.path, manifest=manifest, tensors=tensors, graph=graph)
