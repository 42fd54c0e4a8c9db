"""Trains a checkpoint: linear heads, or a trunk with heads, chosen on validation.

A run can be resumed: the state of each fit is kept in a work folder beside the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from p2l_model.checkpoint.heads import Heads
from p2l_model.checkpoint.manifest import Manifest, Marginal
from p2l_model.data.files import VoteTable, fingerprint
from p2l_model.evaluation.metrics import predict, source_mean
from p2l_model.evaluation.report import compare
from p2l_model.fitting.answer_lengths import (
    LengthModel,
    enough,
    fit_lengths,
    length_report,
    log_lengths,
    refit_lengths,
)
from p2l_model.fitting.cache import cached_heads, digest
from p2l_model.fitting.config import TrainConfig, TrunkConfig
from p2l_model.fitting.graded_scores import (
    ScoreModel,
    calibrated_scores,
    enough_scores,
    fit_scores,
    score_report,
    trained_scores,
    unit_scores,
)
from p2l_model.fitting.hidden_layer import Epoch, LengthTargets, TrunkFit, joined
from p2l_model.fitting.strangers import tied_islands
from p2l_model.placement.place import bundled_placer
from p2l_model.training.calibrate import calibrated, fit_calibration
from p2l_model.training.prepare import Prepared, Split, fit_linear, prepare, save
from p2l_model.training.run_log import Reporter, log_line
from p2l_model.training.teacher import taught
from p2l_model.types import FloatArray


@dataclass(frozen=True, slots=True)
class Candidate:
    """Fitted heads, the options they were fitted with, and their figures."""

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
    work = out.with_name(f".{out.name}.work")
    data = prepare(config, train_paths, validation_paths, work, report, score_range)
    split, draft, x_validation = data.split, data.draft, data.x_validation
    best = choose(config, data, work, report)
    judges = config.weighted(split.validation)
    calibration = fit_calibration(config.family, best.heads, judges, x_validation)
    fitted = calibrated(best.heads, calibration)
    lengths = _lengths(config, split, data.x_train, fitted)
    heads = fitted if lengths is None else lengths.heads
    scores = _scores(data, heads)
    manifest = draft.model_copy(
        update={
            "temperature": calibration.temperature,
            "scored": None if scores is None else scores.known,
            "length_sigma": None if lengths is None else lengths.sigma,
            "marginal": _tied(config, data, draft.marginal).model_copy(
                update={"mean_output_tokens": None if lengths is None else lengths.mean_tokens}
            ),
            "training_data": fingerprint(train_paths) | {"votes": len(split.train)},
        }
    )
    heads = heads if scores is None else scores.heads
    figures = compare(manifest, heads, split.validation, x_validation, config.seed)
    # Every gateway reads the manifest, most of which would be categories of the data.
    del figures["by_category"]
    figures["n_prompts_left_out"] = split.n_seen
    if lengths is not None:
        figures["lengths"] = _length_reports(split, lengths, x_validation)
    if scores is not None:
        figures["scores"] = _score_reports(split, scores, x_validation)
    chosen = best.chosen | _score_scale(scores) | {"config": config.model_dump(mode="json")}
    manifest = manifest.model_copy(update={"metrics": {"validation": figures, "chosen": chosen}})
    save(out, data.base, manifest, heads)
    return manifest


def _tied(config: TrainConfig, data: Prepared, marginal: Marginal) -> Marginal:
    """The leaderboard for all prompts as it is served: islands of models where they belong."""
    places = None if config.trunk is None else _places(config.trunk, data.split.train.models)
    if places is None:
        return marginal
    tied = tied_islands(data.marginal, data.split.train, places)
    return marginal.model_copy(update={"coefficients": tied.bias.tolist()})


def choose(config: TrainConfig, data: Prepared, work: Path, report: Reporter) -> Candidate:
    """Returns the linear heads of the best penalty, or those of a trunk, by validation loss.

    Raises TrainingError.
    """
    if config.trunk is not None:
        return _trunk(config, config.trunk, data, work, report)
    votes = config.weighted(data.split.train)
    candidates = []
    for l2 in config.l2:
        heads = fit_linear(data.x_train, votes, config, l2, work, report)
        loss = _validation_loss(config, heads, data)
        report(f"heads, l2 {l2:g}", 1, 1, f"validation loss {loss:.4f}")
        candidates.append(Candidate({"l2": l2}, heads, loss))
    return min(candidates, key=lambda candidate: candidate.validation_loss)


def _trunk(
    config: TrainConfig, options: TrunkConfig, data: Prepared, work: Path, report: Reporter
) -> Candidate:
    """Trains all members and joins them; each finished member is saved."""
    votes = config.weighted(data.split.train)
    lengths = _length_targets(data.split.train)
    graded = enough_scores(unit_scores(votes)) if options.score_weight > 0 else None
    places = _places(options, votes.models)
    lesson = taught(options, config.family, votes, graded, work, report)
    fit = TrunkFit(
        data.x_train,
        votes,
        config.family,
        options,
        data.marginal,
        lengths,
        lesson.scores,
        places,
        data.x_blanks,
        lesson.targets,
    )
    judges = digest(data.x_validation, config.weighted(data.split.validation), None)
    key = digest(data.x_train, votes, (config.family, options, judges, lesson.teacher))
    members = []
    for member in range(options.members):
        seed = config.seed + member
        stage = f"trunk, member {member + 1} of {options.members}"
        on_epoch = partial(_log_epoch, work, stage, options.epochs, report)

        def judge(heads: Heads) -> float:
            return _validation_loss(config, heads, data)

        make = partial(fit.run, seed, judge, on_epoch)
        members.append(cached_heads(work / "fits" / f"{key}-{seed}.safetensors", make))
    heads = joined(members)
    if places is not None:
        heads = tied_islands(heads, votes, places)
    loss = _validation_loss(config, heads, data)
    report("trunk", 1, 1, f"validation loss {loss:.4f}")
    return Candidate({}, heads, loss)


def _places(options: TrunkConfig, models: Sequence[str]) -> FloatArray | None:
    if options.place_scale == 0:
        return None
    placer = bundled_placer()
    return options.place_scale * np.array([placer.place(name).mean for name in models])


def _length_targets(votes: VoteTable) -> LengthTargets | None:
    logs = enough(log_lengths(votes))
    known = ~np.isnan(logs)
    if not known.any():
        return None
    n_known = known.sum(axis=0)
    level = np.where(known, logs, 0.0).sum(axis=0) / np.maximum(n_known, 1)
    spread = max(float(np.nanstd(logs - level)), 1e-6)
    return LengthTargets((logs - level) / spread, level, spread)


def _log_epoch(work: Path, stage: str, n_epochs: int, report: Reporter, epoch: Epoch) -> None:
    log_line(work, {"stage": stage, **asdict(epoch)})
    losses = f"loss {epoch.train_loss:.4f}, validation {epoch.validation_loss:.4f}"
    report(stage, epoch.number, n_epochs, losses)


def _lengths(
    config: TrainConfig, split: Split, x_train: FloatArray, heads: Heads
) -> LengthModel | None:
    logs = log_lengths(split.train)
    if heads.length_weight is not None:
        return refit_lengths(x_train, logs, heads)
    return fit_lengths(x_train, logs, config.length_l2, heads)


def _scores(data: Prepared, heads: Heads) -> ScoreModel | None:
    graded, held = unit_scores(data.split.train), unit_scores(data.split.validation)
    if heads.score_weight is not None:
        scores: ScoreModel | None = trained_scores(heads, graded)
    else:
        scores = fit_scores(heads, data.x_train, graded, data.x_validation, held)
    if scores is None:
        return None
    return calibrated_scores(scores, data.x_train, data.x_validation, held)


def _score_scale(scores: ScoreModel | None) -> dict[str, float]:
    if scores is None:
        return {}
    common, deviation = scores.scale
    return {"score_scale_common": common, "score_scale_deviation": deviation}


def _score_reports(
    split: Split, scores: ScoreModel, x_validation: FloatArray
) -> dict[str, dict[str, Any]]:
    """`score_report` on the validation part, by source."""
    reports = {}
    for source in np.unique(split.validation.source):
        train, held = (
            unit_scores(votes.where(votes.source == source))
            for votes in (split.train, split.validation)
        )
        found = score_report(scores, train, held, x_validation)
        if found:
            reports[str(source)] = found
    return reports


def _length_reports(
    split: Split, lengths: LengthModel, x_validation: FloatArray
) -> dict[str, dict[str, float]]:
    """`length_report` on the validation part, by source."""
    reports = {}
    for source in np.unique(split.validation.source):
        train_logs = log_lengths(split.train.where(split.train.source == source))
        held = split.validation.where(split.validation.source == source)
        found = length_report(lengths, train_logs, log_lengths(held), x_validation)
        if found:
            reports[str(source)] = found
    return reports


def _validation_loss(config: TrainConfig, heads: Heads, data: Prepared) -> float:
    """The loss that all choices minimise; votes weigh as in training."""
    votes = config.weighted(data.split.validation)
    found = predict(config.family, votes, heads.outputs(data.x_validation, 1.0))
    return source_mean(found.loss, votes)
