"""How long each model's answers are, by prompt: a log-normal regression (Prompt-to-Regression).

log(output tokens) of model m on prompt z ~ Normal(w_m . h(z) + b_m, sigma_m^2), where h is what the
preference heads read too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.fitting.ridge import fit_ridge, lacking
from p2l_model.types import FloatArray

# Fewer answers than this say too little of a model's lengths.
MIN_ANSWERS: Final = 50
# Their hidden reasoning is billed but not in the data: a length from it would be far too low.
HIDDEN_REASONING: Final = frozenset({"o1-mini-2024-09-12", "o1-preview-2024-09-12"})


@dataclass(frozen=True, slots=True)
class LengthModel:
    """heads: with length heads. Per model the spread (`_with_spread`) and the mean number of
    tokens, None where not known."""

    heads: Heads
    sigma: list[float | None]
    mean_tokens: list[float | None]


def log_lengths(votes: VoteTable) -> FloatArray:
    """(P, M): log output tokens of each model's answer to each prompt, NaN where not known, of a
    model with too few answers, or whose reasoning is hidden."""
    logs = np.full((len(votes.conversations), len(votes.models)), np.nan)
    sides = ((votes.model_a, votes.output_tokens_a), (votes.model_b, votes.output_tokens_b))
    for model, tokens in sides:
        rows = tokens > 0
        logs[votes.prompt[rows], model[rows]] = np.log(tokens[rows])
    hidden = np.array([name in HIDDEN_REASONING for name in votes.models])
    logs[:, hidden] = np.nan
    return logs


def enough(logs: FloatArray) -> FloatArray:
    """The same with the columns of fewer than MIN_ANSWERS answers emptied."""
    few = (~np.isnan(logs)).sum(axis=0) < MIN_ANSWERS
    return np.where(few[None, :], np.nan, logs)


def fit_lengths(
    features: FloatArray, logs: FloatArray, l2: float, heads: Heads
) -> LengthModel | None:
    """Ridge per model on what the heads read; None where no model has enough answers.

    features: (P, F). logs: (P, M) as `log_lengths` gives them. l2: penalty on standardised
    features, per answer.
    """
    known = ~np.isnan(enough(logs))
    if not known.any():
        return None
    hidden = heads.hidden(features)
    mean, deviation = hidden.mean(axis=0), hidden.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    x = (hidden - mean) / scale
    weight, bias = np.zeros((logs.shape[1], x.shape[1])), np.zeros(logs.shape[1])
    for model in np.flatnonzero(known.any(axis=0)):
        rows = known[:, model]
        penalty = l2 * int(rows.sum())
        weight[model], bias[model] = _ridge(x[rows], logs[rows, model], penalty)
    weight = weight / scale
    bias = bias - weight @ mean
    fitted = replace(heads, length_weight=weight, length_bias=bias)
    return _with_spread(enough(logs), hidden @ weight.T + bias, fitted)


def refit_lengths(features: FloatArray, logs: FloatArray, heads: Heads) -> LengthModel | None:
    """Ridge on what a trained trunk gives its heads, at the penalty of least leave-one-out error:
    what was trained beside the preferences shapes the trunk, and is not the best line on it."""
    used = enough(logs)
    if np.isnan(used).all():
        return None
    fit = fit_ridge(heads.hidden(features), used)
    fitted = replace(heads, length_weight=fit.weight, length_bias=fit.bias)
    return _with_spread(used, fit.left_out, fitted)


def _with_spread(used: FloatArray, predicted: FloatArray, heads: Heads) -> LengthModel:
    """sigma: what makes the mean of the predicted log-normals that of the answers. The residuals'
    deviation does so only where they are normal; runaway answers are not, and are paid for."""
    spread = np.sqrt(2.0 * np.log(np.maximum(lacking(used, predicted), 1.0)))
    sigma: list[float | None] = [None] * used.shape[1]
    mean_tokens: list[float | None] = [None] * used.shape[1]
    for model in np.flatnonzero((~np.isnan(used)).any(axis=0)):
        sigma[model] = float(spread[model])
        mean_tokens[model] = float(np.nanmean(np.exp(used[:, model])))
    return LengthModel(heads, sigma, mean_tokens)


def length_report(
    model: LengthModel, train_logs: FloatArray, logs: FloatArray, features: FloatArray
) -> dict[str, Any]:
    """Errors in log tokens on answers not trained on, against each model's own training mean.

    r2: share of the variance around the one mean of all answers that is explained; r2_within:
    share of what the per-model means leave unexplained.
    """
    predicted = model.heads.log_tokens(features)
    fitted = np.array([s is not None for s in model.sigma])
    # a source that only validation has gives no mean of the training to compare with
    fitted &= (~np.isnan(train_logs)).any(axis=0)
    known = ~np.isnan(logs) & fitted[None, :]
    if predicted is None or not known.any():
        return {}
    column_means = np.nanmean(train_logs[:, fitted], axis=0)
    means = np.full(logs.shape[1], np.nan)
    means[fitted] = column_means
    truth = logs[known]
    ours = truth - predicted[known]
    baseline = truth - np.broadcast_to(means, logs.shape)[known]
    total = float(((truth - truth.mean()) ** 2).sum())
    return {
        "n": int(known.sum()),
        "rmse_log": float(np.sqrt((ours**2).mean())),
        "rmse_log_model_mean": float(np.sqrt((baseline**2).mean())),
        "r2": 1 - float((ours**2).sum()) / total,
        "r2_model_mean": 1 - float((baseline**2).sum()) / total,
        "r2_within": 1 - float((ours**2).sum()) / float((baseline**2).sum()),
    }


def _ridge(x: FloatArray, y: FloatArray, penalty: float) -> tuple[FloatArray, float]:
    centre, level = x.mean(axis=0), float(y.mean())
    z = x - centre
    weight: FloatArray = np.linalg.solve(z.T @ z + penalty * np.eye(x.shape[1]), z.T @ (y - level))
    return weight, level - float(weight @ centre)
