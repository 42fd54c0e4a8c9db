"""Adds a model to a checkpoint: a head row from few answers, with everything else frozen.

A local layer (`p2l_model.local`) learns the row: it knows all values of the other models, and the
new model has a head of its own on the directions in which their rows differ. Its prior is the
Gaussian of the existing rows, given where public facts put the model. docs/theory.md, section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from p2l_model.checkpoint.folder import (
    GRAPH,
    WEIGHTS,
    Checkpoint,
    save_checkpoint,
    write_checkpoint,
)
from p2l_model.checkpoint.heads import HeadOutputs, Heads
from p2l_model.checkpoint.manifest import Manifest, Onboarded
from p2l_model.data.files import VoteTable
from p2l_model.data.model_names import canonical, columns
from p2l_model.data.soft_labels import target_matrix
from p2l_model.engine.base import Engine
from p2l_model.engine.features import Progress, prompt_features
from p2l_model.errors import DataError
from p2l_model.evaluation.local import GradedRows
from p2l_model.local.layer import LocalLayer
from p2l_model.local.likelihood import Verdict
from p2l_model.local.prior import settled
from p2l_model.local.terms import PromptTerms
from p2l_model.placement.line import fit_line
from p2l_model.placement.place import Placer, bundled_placer
from p2l_model.types import Conversation, FloatArray, PreferenceFamily

# Widens the prior: a new model may differ more from the others than they do from each other.
_WIDENING: Final = 1.25
# The prior's width, in the same measure, around the model that the new one is said to resemble.
_LIKE: Final = 0.5
# Places by facts were this much farther off than they say (EXPERIMENTS.md, 2026-11-30).
_FACTS: Final = 1.5
_MAX_DIRECTIONS: Final = 48
# So many grades of known models tell the level of a judge.
_LEVEL_GRADES: Final = 200
# The prediction from the other models' lengths weighs as much as this many answers.
_LENGTH_PRIOR: Final = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """What is believed of a row, weight and bias: mode (H + 1,), and factor (r, H + 1), as its
    covariance is factor.T @ factor."""

    mode: FloatArray
    factor: FloatArray


@dataclass(frozen=True, slots=True)
class View:
    """What M models and their votes are like on P prompts. x (P, H + 1): what a row is multiplied
    with, divided by the temperature; known: of the M models, as served."""

    x: FloatArray
    known: HeadOutputs


@dataclass(frozen=True, slots=True)
class Answers:
    """votes and grades of M known models and the new one, the last of the names."""

    votes: VoteTable
    grades: GradedRows

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """Those of the votes, then those of the grades."""
        return self.votes.conversations + self.grades.conversations

    @property
    def n(self) -> int:
        """How many votes and grades of the new model there are."""
        return len(self.votes) + int((self.grades.model == len(self.votes.models) - 1).sum())


def row_prior(
    heads: Heads,
    like: int | None = None,
    usual: FloatArray | None = None,
    place: tuple[float, float] | None = None,
) -> Row:
    """The prior from all M rows of the heads.

    like: the row of a similar model, which becomes the mode. usual (M,): the models' coefficients
    for no prompt in particular; place: mean and standard deviation of the new model's by public
    facts, None where they are not to count.
    """
    rows = np.column_stack([heads.weight, heads.bias])
    apart = rows - rows.mean(axis=0)
    shares, sizes, directions = np.linalg.svd(apart, full_matrices=False)
    n = min(_MAX_DIRECTIONS, max(heads.n_models - 1, 1), sizes.size)
    root = np.sqrt(max(heads.n_models - 1, 1))
    spread = _WIDENING if like is None else _LIKE
    factor = spread * (sizes[:n] / root)[:, None] * directions[:n]
    if like is not None:
        return Row(rows[like], factor)
    if usual is None or place is None:
        return Row(rows.mean(axis=0), factor)
    # The covariance of the row, in the measure of the factor, with the model's usual coefficient.
    told = spread / root * (shares[:, :n].T @ (usual - usual.mean()))
    length, total = float(told @ told), float(told @ told) + place[1] ** 2
    kept = np.eye(n) - (1 - np.sqrt(1 - length / total)) / max(length, 1e-12) * np.outer(told, told)
    shift = told * (place[0] - usual.mean()) / total
    return Row(rows.mean(axis=0) + shift @ factor, kept @ factor)


def fit_row(answers: Answers, family: PreferenceFamily, view: View, prior: Row) -> Row:
    """Learns from all votes and grades, which are on the view's prompts."""
    votes, grades = answers.votes, answers.grades
    *known, name = votes.models
    layer = LocalLayer.start([name], np.zeros(1), np.zeros((1, 1)), len(prior.factor), [settled()])
    for n, one in enumerate(known, 1):
        layer.join(one, 0.0, np.zeros(n + 1))
    values = np.column_stack([view.known.coefficients, view.x @ prior.mode])
    axes, targets = view.x @ prior.factor.T, target_matrix(family, votes)
    for row, prompt in enumerate(votes.prompt):
        pair = int(votes.model_a[row]), int(votes.model_b[row])
        eta, gamma = float(view.known.eta[prompt]), float(view.known.gamma[prompt])
        layer.learn_verdict(
            votes.models[pair[0]],
            votes.models[pair[1]],
            Verdict(targets[row], family, eta, gamma, float(votes.weight[row])),
            PromptTerms(0.0, {votes.models[m]: values[prompt, m] for m in pair}, axes[prompt]),
        )
    for row, prompt in enumerate(grades.prompt + len(votes.conversations)):
        one = votes.models[grades.model[row]]
        value = values[prompt, grades.model[row]] - view.known.gamma[prompt]
        terms = PromptTerms(0.0, {one: value}, axes[prompt])
        layer.learn_grade(one, float(grades.score[row]), terms, grades.judge[row])
    mean, covariance = layer.head(name)
    root = np.linalg.cholesky(covariance)
    return Row(prior.mode + mean @ prior.factor, root.T @ prior.factor)


def onboard(
    checkpoint: Checkpoint,
    engine: Engine,
    name: str,
    votes: VoteTable | None,
    out: Path,
    progress: Progress,
    *,
    like: str | None = None,
    grades: Sequence[GradedRows] = (),
    placer: Placer | None = None,
) -> Manifest:
    """Writes the checkpoint with one more model to out, and returns its manifest.

    votes: None where there are none: the row is then the prior's mode, with the prior's variance.
    Votes that are not between the new model and a known one are left out. grades: of files of
    scores; those of the new model count on prompts without such a vote, and some of known models
    tell how the file is graded. placer: None for the one with the facts that the product ships.
    Raises DataError where the name is taken, `like` is unknown, or nothing that is given can be
    used.
    """
    manifest, heads = checkpoint.manifest, checkpoint.heads
    if name in manifest.models:
        raise DataError(f"{name} is in the checkpoint already")
    if like is not None and like not in manifest.models:
        raise DataError(f"--like {like}: the checkpoint has no such model")
    answers = None
    if votes is not None:
        answers = Answers(*_usable(name, votes, grades, manifest.models))
        if answers.n == 0:
            raise DataError(
                f"no vote compares {name} with a model of the checkpoint, and no grade is of it: "
                "is it spelt so in the data?"
            )
    said = () if answers is None else answers.conversations
    features = np.zeros((0, heads.width))
    if said:
        features = prompt_features(said, checkpoint.prompt, engine, progress)
    views = view_of(heads, features, manifest.temperature), _usual_view(manifest, len(said))
    priors = _priors(checkpoint, name, like, bundled_placer() if placer is None else placer)
    row, level = (
        prior if answers is None else fit_row(answers, manifest.family, view, prior)
        for view, prior in zip(views, priors, strict=True)
    )
    logs = np.zeros(0) if answers is None else _log_tokens(name, answers.votes)
    grown = _with_lengths(with_row(heads, row), heads, features[: logs.size], logs)
    facts = Onboarded(n_votes=0 if answers is None else answers.n, like=like)
    fresh = _grown_manifest(manifest, name, facts, float(level.mode[0]), logs)
    _write(checkpoint, out, fresh, _with_scores(grown, heads))
    return fresh


def _priors(checkpoint: Checkpoint, name: str, like: str | None, placer: Placer) -> tuple[Row, Row]:
    """Of the new row, and of its coefficient for no prompt in particular."""
    manifest, at = checkpoint.manifest, None
    usual, place = np.array(manifest.marginal.coefficients), by_facts(name, manifest, placer)
    if like is not None:
        at = manifest.models.index(like)
        place = float(usual[at]), _LIKE * max(float(usual.std()), 0.1)
    level = Row(np.array([place[0]]), np.array([[place[1]]]))
    return row_prior(checkpoint.heads, at, usual, place), level


def by_facts(name: str, manifest: Manifest, placer: Placer) -> tuple[float, float]:
    """Mean and standard deviation of a model's coefficient for no prompt in particular."""
    line = fit_line(manifest.models, manifest.marginal.coefficients, placer)
    mean, sd = line.coefficient(placer.place(name))
    return mean, _FACTS * sd


def view_of(heads: Heads, features: FloatArray, temperature: float) -> View:
    """The view of prompts with features (P, F)."""
    x = np.column_stack([heads.hidden(features), np.ones(features.shape[0])])
    return View(x / temperature, heads.outputs(features, temperature))


def _usual_view(manifest: Manifest, n: int) -> View:
    """The view of n prompts that are all no prompt in particular."""
    marginal = manifest.marginal
    ties = (0.0 if one is None else one for one in (marginal.eta, marginal.gamma))
    eta, gamma = (np.full(n, one) for one in ties)
    return View(np.ones((n, 1)), HeadOutputs(np.tile(marginal.coefficients, (n, 1)), eta, gamma))


def lone_grades(
    name: str, files: Sequence[GradedRows], compared: Sequence[Conversation], models: Sequence[str]
) -> GradedRows:
    """The grades of the new model, the last, on prompts where it was not compared, after some of
    known models by the same judges."""
    voted, names = set(compared), (*models, name)
    rows: list[tuple[Conversation, int, float, str]] = []
    for number, file in enumerate(files):
        judge = np.array([f"{number} {one}" for one in file.judge or [""] * len(file)])
        spelt = [canonical(one) for one in file.models]
        model = np.array(columns(spelt, names))[file.model]
        fresh = np.array([file.conversations[prompt] not in voted for prompt in file.prompt])
        mine = (model == len(models)) & fresh
        for one in np.unique(judge[mine]):
            known = np.flatnonzero((judge == one) & (model >= 0) & (model < len(models)))
            for row in (*known[:_LEVEL_GRADES], *np.flatnonzero((judge == one) & mine)):
                said = file.conversations[file.prompt[row]]
                rows.append((said, int(model[row]), float(file.score[row]), str(one)))
    said, at, score, judges = zip(*rows, strict=True) if rows else ((),) * 4
    place = {one: index for index, one in enumerate(dict.fromkeys(said))}
    prompt = np.array([place[one] for one in said], dtype=np.int64)
    return GradedRows(
        tuple(place), names, prompt, np.array(at, dtype=np.int64), np.array(score), judges
    )


def _usable(
    name: str, votes: VoteTable, files: Sequence[GradedRows], models: Sequence[str]
) -> tuple[VoteTable, GradedRows]:
    """The votes between the new model and known ones, and its grades on other prompts."""
    among = votes.among([*models, name])
    kept = among.where((among.model_a == len(models)) | (among.model_b == len(models)))
    used, place = np.unique(kept.prompt, return_inverse=True)
    said = tuple(kept.conversations[one] for one in used)
    compared = replace(kept, conversations=said, prompt=place.astype(np.int64))
    return compared, lone_grades(name, files, said, models)


def with_row(heads: Heads, row: Row) -> Heads:
    """The heads with one more model, the last; lengths are unchanged."""
    return replace(
        heads,
        weight=np.vstack([heads.weight, row.mode[:-1]]),
        bias=np.append(heads.bias, row.mode[-1]),
        factors={**heads.factors, heads.n_models: row.factor},
    )


def _with_lengths(grown: Heads, heads: Heads, features: FloatArray, logs: FloatArray) -> Heads:
    """Sets the new model's length row to the other models' mean, shifted by the answers in the
    votes."""
    if heads.length_weight is None or heads.length_bias is None:
        return grown
    known = np.flatnonzero(np.any(heads.length_weight != 0, axis=1))
    rows = known if known.size > 0 else np.arange(heads.n_models)
    weight, bias = heads.length_weight[rows].mean(axis=0), float(heads.length_bias[rows].mean())
    if not np.all(np.isnan(logs)):
        error = logs - (heads.hidden(features) @ weight + bias)
        bias += float(np.nansum(error)) / (int((~np.isnan(error)).sum()) + _LENGTH_PRIOR)
    return replace(
        grown,
        length_weight=np.vstack([heads.length_weight, weight]),
        length_bias=np.append(heads.length_bias, bias),
    )


def _with_scores(grown: Heads, heads: Heads) -> Heads:
    """The new model's row of scores is the others' mean, and it is not `scored`."""
    if heads.score_weight is None or heads.score_bias is None:
        return grown
    return replace(
        grown,
        score_weight=np.vstack([heads.score_weight, heads.score_weight.mean(axis=0)]),
        score_bias=np.append(heads.score_bias, heads.score_bias.mean()),
    )


def _log_tokens(name: str, votes: VoteTable) -> FloatArray:
    """The log output tokens (P,) of the new model's answers, NaN where unknown."""
    logs = np.full(len(votes.conversations), np.nan)
    index = votes.models.index(name)
    sides = ((votes.model_a, votes.output_tokens_a), (votes.model_b, votes.output_tokens_b))
    for model, tokens in sides:
        rows = (model == index) & (tokens > 0)
        logs[votes.prompt[rows]] = np.log(tokens[rows])
    return logs


def _grown_manifest(
    manifest: Manifest,
    name: str,
    facts: Onboarded,
    coefficient: float,
    logs: FloatArray,
) -> Manifest:
    marginal = manifest.marginal
    tokens = marginal.mean_output_tokens
    mean_tokens = None if np.all(np.isnan(logs)) else float(np.nanmean(np.exp(logs)))
    sigma = manifest.length_sigma
    known_sigma = [one for one in sigma or [] if one is not None]
    more = marginal.model_copy(
        update={
            "coefficients": [*marginal.coefficients, coefficient],
            "mean_output_tokens": None if tokens is None else [*tokens, mean_tokens],
        }
    )
    fresh_sigma = float(np.mean(known_sigma)) if known_sigma else None
    return manifest.model_copy(
        update={
            "models": [*manifest.models, name],
            "marginal": more,
            "length_sigma": None if sigma is None else [*sigma, fresh_sigma],
            "scored": None if manifest.scored is None else [*manifest.scored, False],
            "onboarded": {**manifest.onboarded, name: facts},
        }
    )


def _write(checkpoint: Checkpoint, out: Path, manifest: Manifest, heads: Heads) -> None:
    graph = checkpoint.path / GRAPH
    stored = graph.read_bytes() if graph.exists() else None
    kept = {n: t for n, t in checkpoint.tensors.items() if n.startswith("model.")}
    if manifest.quantization != "none":
        tensors: dict[str, Any] = {**kept, **heads.tensors()}
        save_checkpoint(out, base=checkpoint.path, manifest=manifest, tensors=tensors, graph=stored)
        return
    import torch
    from safetensors.torch import load_file, save_file

    backbone = load_file(checkpoint.path / WEIGHTS)
    whole = {n: t for n, t in backbone.items() if n.startswith("model.")}
    whole |= {n: torch.from_numpy(t) for n, t in heads.tensors().items()}
    write_checkpoint(out, checkpoint.path, manifest, lambda path: save_file(whole, path), stored)
