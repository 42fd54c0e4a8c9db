"""Adds a new model to a checkpoint: a head row from few votes, with everything else frozen.

docs/theory.md, section 6, has the derivation. The row's prior is the Gaussian of the existing rows.
The mode of its posterior becomes the row, and the Laplace approximation around it gives the
variance of the row's predictions.
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
from p2l_model.data.soft_labels import target_matrix
from p2l_model.engine.base import Engine
from p2l_model.engine.features import Progress, prompt_features
from p2l_model.errors import DataError
from p2l_model.preference import log_probabilities
from p2l_model.types import FloatArray, PreferenceFamily

# Widens the prior: a new model may differ more from the others than they do from each other.
_WIDENING: Final = 1.25
# The prior's width, in the same measure, around the model that the new one is said to resemble.
_LIKE: Final = 0.5
_MAX_DIRECTIONS: Final = 48
_MAX_STEPS: Final = 60
_STEP: Final = 1e-4
_TOLERANCE: Final = 1e-9
# The prediction from the other models' lengths weighs as much as this many answers.
_LENGTH_PRIOR: Final = 10.0


@dataclass(frozen=True, slots=True)
class Prior:
    """A row is centre (H + 1,) + z @ basis, with z standard normal and basis (r, H + 1)."""

    centre: FloatArray
    basis: FloatArray


@dataclass(frozen=True, slots=True)
class Battles:
    """N votes of the new model, which is always side a.

    x (N, H + 1): the vectors that the heads read and a 1, divided by the temperature. opponent,
    eta, gamma (N,): as served. targets (N, K). weight (N,).
    """

    x: FloatArray
    opponent: FloatArray
    eta: FloatArray
    gamma: FloatArray
    targets: FloatArray
    weight: FloatArray


@dataclass(frozen=True, slots=True)
class Row:
    """mode (H + 1,): weight and bias. factor (r, H + 1): the row's covariance is factor.T @
    factor."""

    mode: FloatArray
    factor: FloatArray


def row_prior(heads: Heads, like: int | None = None) -> Prior:
    """The prior from all rows of the heads. like: the row of a similar model, which becomes the
    centre."""
    rows = np.column_stack([heads.weight, heads.bias])
    deviations = rows - rows.mean(axis=0)
    _, sizes, directions = np.linalg.svd(deviations, full_matrices=False)
    n = min(_MAX_DIRECTIONS, max(rows.shape[0] - 1, 1))
    scale = sizes[:n] / np.sqrt(max(rows.shape[0] - 1, 1))
    spread = _WIDENING if like is None else _LIKE
    centre = rows.mean(axis=0) if like is None else rows[like]
    return Prior(centre, spread * scale[:, None] * directions[:n])


def fit_row(family: PreferenceFamily, battles: Battles, prior: Prior) -> Row:
    """Finds the posterior's mode by Fisher scoring; a step that goes too far is halved."""
    a = battles.x @ prior.basis.T  # (N, r)
    base = battles.x @ prior.centre
    z = np.zeros(prior.basis.shape[0])
    value = _objective(family, battles, base + a @ z, z)
    for _ in range(_MAX_STEPS):
        gradient, precision = _scores(family, battles, base + a @ z, a, z)
        step = np.linalg.solve(precision, gradient)
        moved = [z + step * 0.5**half for half in range(8)]
        values = [_objective(family, battles, base + a @ one, one) for one in moved]
        best = int(np.argmax(values))
        if values[best] <= value + _TOLERANCE:
            break
        z, value = moved[best], values[best]
    _, precision = _scores(family, battles, base + a @ z, a, z)
    root = np.linalg.cholesky(np.linalg.inv(precision))
    return Row(prior.centre + z @ prior.basis, root.T @ prior.basis)


def battles_of(
    name: str, votes: VoteTable, manifest: Manifest, heads: Heads, features: FloatArray
) -> Battles:
    """The votes between the new model and models that the checkpoint knows. features (P, F): of the
    votes' prompts."""
    outputs = heads.outputs(features, manifest.temperature)
    hidden = np.column_stack([heads.hidden(features), np.ones(features.shape[0])])
    sides = _as_side_a(name, votes, manifest.models)
    prompt = sides.votes.prompt
    return Battles(
        hidden[prompt] / manifest.temperature,
        outputs.coefficients[prompt, sides.opponent],
        outputs.eta[prompt],
        outputs.gamma[prompt],
        target_matrix(manifest.family, sides.votes),
        sides.votes.weight,
    )


def onboard(
    checkpoint: Checkpoint,
    engine: Engine,
    name: str,
    votes: VoteTable | None,
    out: Path,
    progress: Progress,
    *,
    like: str | None = None,
) -> Manifest:
    """Writes the checkpoint with one more model to out, and returns its manifest.

    votes: None where there are none: the row is then the prior's centre, with the prior's variance.
    Votes that are not between the new model and a known one are left out. Raises DataError where
    the name is taken, `like` is unknown, or votes are given but none can be used.
    """
    manifest, heads = checkpoint.manifest, checkpoint.heads
    if name in manifest.models:
        raise DataError(f"{name} is in the checkpoint already")
    if like is not None and like not in manifest.models:
        raise DataError(f"--like {like}: the checkpoint has no such model")
    used = None if votes is None else _usable(name, votes, manifest.models)
    features = (
        np.zeros((0, heads.width))
        if used is None
        else prompt_features(used.conversations, checkpoint.prompt, engine, progress)
    )
    battles = _no_battles(heads) if used is None else battles_of(
        name, used, manifest, heads, features
    )  # fmt: skip
    prior = row_prior(heads, None if like is None else manifest.models.index(like))
    row = fit_row(manifest.family, battles, prior)
    logs = None if used is None else _log_tokens(name, used)
    grown = _with_lengths(with_row(heads, row), heads, features, logs)
    grown = _with_scores(grown, heads)
    facts = Onboarded(n_votes=battles.weight.size, like=like)
    fresh = _grown_manifest(manifest, name, facts, battles, used, logs)
    _write(checkpoint, out, fresh, grown)
    return fresh


@dataclass(frozen=True, slots=True)
class _Sides:
    """Votes turned so that the new model is side a. opponent (N,): the checkpoint's index."""

    votes: VoteTable
    opponent: Any


def _as_side_a(name: str, votes: VoteTable, models: Sequence[str]) -> _Sides:
    index = votes.models.index(name)
    column = {model: place for place, model in enumerate(models)}
    known = np.array([column.get(model, -1) for model in votes.models], dtype=np.int64)
    turned = votes.model_b == index
    other = known[np.where(turned, votes.model_a, votes.model_b)]
    fits = (turned | (votes.model_a == index)) & (other >= 0)
    outcome = np.where(turned & (votes.outcome < 2), 1 - votes.outcome, votes.outcome)
    soft = np.where(turned, 1.0 - votes.p_model_a, votes.p_model_a)
    tokens = np.where(turned, votes.output_tokens_b, votes.output_tokens_a)
    aligned = replace(votes, outcome=outcome, p_model_a=soft, output_tokens_a=tokens)
    return _Sides(aligned.where(fits), other[fits])


def _usable(name: str, votes: VoteTable, models: Sequence[str]) -> VoteTable:
    """Only the usable votes, and only their prompts. Raises DataError."""
    if name not in votes.models:
        raise DataError(f"no vote is on {name}: is it spelt so in the data?")
    index = votes.models.index(name)
    known = np.isin(np.array(votes.models), np.array(models))
    a, b = votes.model_a, votes.model_b
    kept = votes.where(((a == index) & known[b]) | ((b == index) & known[a]))
    if len(kept) == 0:
        raise DataError(f"no vote compares {name} with a model of the checkpoint")
    used, place = np.unique(kept.prompt, return_inverse=True)
    conversations = tuple(kept.conversations[one] for one in used)
    return replace(kept, conversations=conversations, prompt=place.astype(np.int64))


def _no_battles(heads: Heads) -> Battles:
    width = heads.weight.shape[1] + 1
    empty = np.zeros(0)
    return Battles(np.zeros((0, width)), empty, empty, empty, np.zeros((0, 0)), empty)


def _objective(
    family: PreferenceFamily, battles: Battles, theta: FloatArray, z: FloatArray
) -> float:
    """The log-posterior up to a constant."""
    if theta.size == 0:
        return -0.5 * float(z @ z)
    logs = log_probabilities(family, theta, battles.opponent, battles.eta, battles.gamma)
    return float((battles.weight * (battles.targets * logs).sum(axis=1)).sum() - 0.5 * z @ z)


def _scores(
    family: PreferenceFamily, battles: Battles, theta: FloatArray, a: FloatArray, z: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The gradient (r,) and the Fisher precision (r, r), which is positive definite for any
    votes."""
    if theta.size == 0:
        return -z, np.eye(z.size)
    others = (battles.opponent, battles.eta, battles.gamma)
    slope = (
        log_probabilities(family, theta + _STEP, *others)
        - log_probabilities(family, theta - _STEP, *others)
    ) / (2 * _STEP)  # (N, K)
    probabilities = np.exp(log_probabilities(family, theta, *others))
    first = battles.weight * (battles.targets * slope).sum(axis=1)
    information = battles.weight * (probabilities * slope**2).sum(axis=1)
    return a.T @ first - z, (a * information[:, None]).T @ a + np.eye(z.size)


def with_row(heads: Heads, row: Row) -> Heads:
    """The heads with one more model, the last; lengths are unchanged."""
    return replace(
        heads,
        weight=np.vstack([heads.weight, row.mode[:-1]]),
        bias=np.append(heads.bias, row.mode[-1]),
        factors={**heads.factors, heads.n_models: row.factor},
    )


def _with_lengths(grown: Heads, heads: Heads, features: FloatArray, logs: Any) -> Heads:
    """Sets the new model's length row to the other models' mean, shifted by the answers in the
    votes."""
    if heads.length_weight is None or heads.length_bias is None:
        return grown
    known = np.flatnonzero(np.any(heads.length_weight != 0, axis=1))
    rows = known if known.size > 0 else np.arange(heads.n_models)
    weight, bias = heads.length_weight[rows].mean(axis=0), float(heads.length_bias[rows].mean())
    if logs is not None and not np.all(np.isnan(logs)):
        error = logs - (heads.hidden(features) @ weight + bias)
        bias += float(np.nansum(error)) / (int((~np.isnan(error)).sum()) + _LENGTH_PRIOR)
    return replace(
        grown,
        length_weight=np.vstack([heads.length_weight, weight]),
        length_bias=np.append(heads.length_bias, bias),
    )


def _with_scores(grown: Heads, heads: Heads) -> Heads:
    """Grades of the new model are not used: its row is the others' mean, and it is not `scored`."""
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
    battles: Battles,
    votes: VoteTable | None,
    logs: FloatArray | None,
) -> Manifest:
    marginal = manifest.marginal
    tokens = marginal.mean_output_tokens
    known = logs is not None and not np.all(np.isnan(logs))
    mean_tokens = float(np.nanmean(np.exp(logs))) if known and logs is not None else None
    sigma = manifest.length_sigma
    known_sigma = [one for one in sigma or [] if one is not None]
    more = marginal.model_copy(
        update={
            "coefficients": [
                *marginal.coefficients,
                _marginal_coefficient(name, manifest, battles, votes),
            ],
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


def _marginal_coefficient(
    name: str, manifest: Manifest, battles: Battles, votes: VoteTable | None
) -> float:
    """The new model's marginal coefficient, with the known models' coefficients as its prior."""
    marginal = manifest.marginal
    known = np.array(marginal.coefficients)
    prior = Prior(np.array([known.mean()]), np.array([[max(float(known.std()), 0.1)]]))
    if votes is None:
        return float(prior.centre[0])
    n = battles.weight.size
    constant = HeadOutputs(
        known[_as_side_a(name, votes, manifest.models).opponent],
        np.full(n, 0.0 if marginal.eta is None else marginal.eta),
        np.full(n, 0.0 if marginal.gamma is None else marginal.gamma),
    )
    flat = replace(
        battles,
        x=np.ones((n, 1)),
        opponent=constant.coefficients,
        eta=constant.eta,
        gamma=constant.gamma,
    )
    return float(fit_row(manifest.family, flat, prior).mode[0])


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
