"""The length of each model's answer to a prompt: a log-normal regression (Prompt-to-Regression).

log(output tokens) of model m on prompt z ~ Normal(w_m . h(z) + b_m, sigma_m^2), where h is the same
vector that the preference heads read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.fitting.ridge import fit_ridge, lacking
from p2l_model.types import FloatArray

# Fewer answers than this do not determine a model's lengths.
MIN_ANSWERS: Final = 50
# Their hidden reasoning is billed but not in the data, so that a predicted length would be far too
# low.
HIDDEN_REASONING: Final = frozenset({"o1-mini-2024-09-12", "o1-preview-2024-09-12"})


@dataclass(frozen=True, slots=True)
class LengthModel:
    """heads: with length heads. Per model also the spread (`_with_spread`) and the mean number of
    tokens, None where unknown."""

    heads: Heads
    sigma: list[float | None]
    mean_tokens: list[float | None]


def log_lengths(votes: VoteTable) -> FloatArray:
    """The log output tokens (P, M) of each model's answer to each prompt, NaN where unknown, for
    models with too few answers, and for models whose reasoning is hidden."""
    logs = np.full((len(votes.conversations), len(votes.models)), np.nan)
    sides = ((votes.model_a, votes.output_tokens_a), (votes.model_b, votes.output_tokens_b))
    for model, tokens in sides:
        rows = tokens > 0
        logs[votes.prompt[rows], model[rows]] = np.log(tokens[rows])
    hidden = np.array([name in HIDDEN_REASONING for name in votes.models])
    logs[:, hidden] = np.nan
    return logs


def enough(logs: FloatArray) -> FloatArray:
    """The same array, with columns of fewer than MIN_ANSWERS answers set to NaN."""
    few = (~np.isnan(logs)).sum(axis=0) < MIN_ANSWERS
    return np.where(few[None, :], np.nan, logs)


def fit_lengths(
    features: FloatArray, logs: FloatArray, l2: float, heads: Heads
) -> LengthModel | None:
    """Fits one ridge regression per model on the vectors that the heads read.

    features: (P, F). logs: (P, M) from `log_lengths`. l2: the penalty on standardised features, per
    answer. Returns None where no model has enough answers.
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
    """Fits ridge regressions on the output of a trained trunk, at the penalty with the least
    leave-one-out error: the length rows trained together with the preferences shape the trunk, but
    are not the best fit on it."""
    used = enough(logs)
    if np.isnan(used).all():
        return None
    fit = fit_ridge(heads.hidden(features), used)
    fitted = replace(heads, length_weight=fit.weight, length_bias=fit.bias)
    return _with_spread(used, fit.left_out, fitted)


def _with_spread(used: FloatArray, predicted: FloatArray, heads: Heads) -> LengthModel:
    """Chooses sigma so that the mean of the predicted log-normals equals that of the answers. The
    residuals' standard deviation would only do so if they were normal; runaway answers are not, and
    have to be paid for."""
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
    """Errors in log tokens on answers not used in training, compared with each model's own training
    mean.

    r2: the explained share of the variance around the mean of all answers; r2_within: the explained
    share of the variance that remains around the means per model.
    """
    predicted = model.heads.log_tokens(features)
    fitted = np.array([s is not None for s in model.sigma])
    # A source that only validation has gives no training mean to compare with.
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
