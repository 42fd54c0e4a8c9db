"""The grade of each model's answer to a prompt: a graded-score regression (Prompt-to-Regression).

E[score of model m on prompt z] = sigmoid(w_m . h(z) + b_m), where h is the vector that the
preference heads read. The loss is Bernoulli cross-entropy with scores in [0, 1] as soft targets. A
model's weights are a part common to all models (how hard the prompt is) plus its own deviation,
each with a ridge penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.types import FloatArray

# Fewer graded answers than this do not determine a model's scores.
MIN_GRADED: Final = 50
_PENALTIES: Final = (0.01, 0.03, 0.1, 0.3, 1.0)
_MAX_STEPS: Final = 25
_HALVINGS: Final = 20
_TOLERANCE: Final = 1e-7
_BIAS_RIDGE: Final = 1e-4
_SCALE_RIDGE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class ScoreModel:
    """heads: with score heads. known (M,): which models had enough graded answers. l2: the chosen
    penalty, where the heads were fitted on their own. scale: the factors of `calibrated_scores`."""

    heads: Heads
    known: list[bool]
    l2: float | None
    scale: tuple[float, float] = (1.0, 1.0)


def unit_scores(votes: VoteTable) -> FloatArray:
    """Each model's graded score (P, M) on each prompt, in [0, 1], NaN where unknown."""
    scores = np.full((len(votes.conversations), len(votes.models)), np.nan)
    for model, graded in ((votes.model_a, votes.score_a), (votes.model_b, votes.score_b)):
        rows = ~np.isnan(graded)
        scores[votes.prompt[rows], model[rows]] = graded[rows]
    return scores


def enough_scores(scores: FloatArray) -> FloatArray | None:
    """The same array, with columns of fewer than MIN_GRADED answers set to NaN; None where no
    column is left."""
    few = (~np.isnan(scores)).sum(axis=0) < MIN_GRADED
    return None if few.all() else np.where(few[None, :], np.nan, scores)


def trained_scores(heads: Heads, scores: FloatArray) -> ScoreModel:
    """The model of heads whose score rows were trained with the trunk."""
    return ScoreModel(heads, ((~np.isnan(scores)).sum(axis=0) >= MIN_GRADED).tolist(), None)


def fit_scores(
    heads: Heads,
    x_train: FloatArray,
    scores: FloatArray,
    x_validation: FloatArray,
    held: FloatArray,
) -> ScoreModel | None:
    """Fits score heads at the penalty with the least cross-entropy on validation.

    x_*: features (P, F). scores, held: (P, M) from `unit_scores`, for training and validation.
    Returns None where no model has enough graded answers.
    """
    known = (~np.isnan(scores)).sum(axis=0) >= MIN_GRADED
    if not known.any():
        return None
    hidden = heads.hidden(x_train)
    mean, deviation = hidden.mean(axis=0), hidden.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    x = (hidden - mean) / scale
    best: tuple[float, ScoreModel] | None = None
    for l2 in _PENALTIES:
        weight, bias = _fit_all(x, scores, known, l2)
        weight = weight / scale
        fitted = replace(heads, score_weight=weight, score_bias=bias - weight @ mean)
        loss = _cross_entropy(fitted, x_validation, held, known)
        if best is None or loss < best[0]:
            best = loss, ScoreModel(fitted, known.tolist(), l2)
    return None if best is None else best[1]


def calibrated_scores(
    model: ScoreModel, x_train: FloatArray, x_validation: FloatArray, held: FloatArray
) -> ScoreModel:
    """Shrinks the predictions by two factors with the least cross-entropy on validation.

    One factor scales the effect of a prompt on all models alike, the other each model's own
    deviation from it; both are measured from the mean over the training prompts. Without this a
    router would pay for deviations that do not hold, since the best of many estimates was also the
    luckiest (the winner's curse). x_*: features (P, F). held: (P, M) from `unit_scores`.
    """
    weight, bias = model.heads.score_weight, model.heads.score_bias
    graded = ~np.isnan(held) & np.array(model.known)
    if weight is None or bias is None or not graded.any():
        return model
    centre = model.heads.hidden(x_train).mean(axis=0)
    common = weight[model.known].mean(axis=0)
    apart = model.heads.hidden(x_validation) - centre
    level, own = np.broadcast_arrays((apart @ common)[:, None], apart @ (weight - common).T)
    parts = np.column_stack([level[graded], own[graded]])
    offset = np.broadcast_to(weight @ centre + bias, held.shape)[graded] + parts.sum(axis=1)
    change = _newton(parts, held[graded], offset, np.full(2, _SCALE_RIDGE))
    scale = tuple(np.maximum(1.0 + change, 0.0).tolist())
    scaled = np.where(
        np.array(model.known)[:, None], scale[0] * common + scale[1] * (weight - common), weight
    )
    heads = replace(model.heads, score_weight=scaled, score_bias=bias + (weight - scaled) @ centre)
    return replace(model, heads=heads, scale=scale)


def score_report(
    model: ScoreModel, scores: FloatArray, held: FloatArray, x_validation: FloatArray
) -> dict[str, Any]:
    """Errors on graded answers not used in training, compared with each model's mean score in
    training."""
    predicted = model.heads.expected_scores(x_validation)
    graded = np.array(model.known) & (~np.isnan(scores)).any(axis=0)
    known = ~np.isnan(held) & graded[None, :]
    if predicted is None or not known.any():
        return {}
    with np.errstate(invalid="ignore"):
        means = np.nansum(scores, axis=0) / np.maximum((~np.isnan(scores)).sum(axis=0), 1)
    truth, ours = held[known], predicted[known]
    baseline = np.broadcast_to(means, held.shape)[known]
    return {
        "n": int(known.sum()),
        "cross_entropy": _entropy(truth, ours),
        "cross_entropy_model_mean": _entropy(truth, baseline),
        "brier": float(((truth - ours) ** 2).mean()),
        "brier_model_mean": float(((truth - baseline) ** 2).mean()),
        "picks": picks(predicted, scores, held, graded),
    }


def picks(
    predicted: FloatArray, scores: FloatArray, held: FloatArray, known: Sequence[bool] | Any
) -> dict[str, float]:
    """The mean score of the model picked per prompt, of the best single one (by its training mean),
    and of the best per prompt (oracle), on prompts where every known model is graded."""
    columns = np.flatnonzero(known)
    whole = ~np.isnan(held[:, columns]).any(axis=1)
    if not whole.any() or columns.size == 0:
        return {}
    truth = held[np.ix_(whole, columns)]
    single = int(np.argmax(np.nanmean(scores[:, columns], axis=0)))
    chosen = predicted[np.ix_(whole, columns)].argmax(axis=1)
    return {
        "n_prompts": int(whole.sum()),
        "picked": float(truth[np.arange(truth.shape[0]), chosen].mean()),
        "best_single": float(truth[:, single].mean()),
        "oracle": float(truth.max(axis=1).mean()),
    }


def _fit_all(
    x: FloatArray, scores: FloatArray, known: Any, l2: float
) -> tuple[FloatArray, FloatArray]:
    """Weights (M, H) and biases (M,), zero for models that are not known."""
    n_graded = (~np.isnan(scores[:, known])).sum(axis=1)
    rows = n_graded > 0
    level = np.nansum(scores[np.ix_(rows, np.flatnonzero(known))], axis=1) / n_graded[rows]
    common, _ = _logistic(x[rows], level, np.zeros(int(rows.sum())), l2)
    weight, bias = np.zeros((scores.shape[1], x.shape[1])), np.zeros(scores.shape[1])
    for model in np.flatnonzero(known):
        graded = ~np.isnan(scores[:, model])
        offset = x[graded] @ common
        own, bias[model] = _logistic(x[graded], scores[graded, model], offset, l2)
        weight[model] = common + own
    return weight, bias


def _logistic(
    x: FloatArray, y: FloatArray, offset: FloatArray, l2: float
) -> tuple[FloatArray, float]:
    """Returns weights and bias. l2: per row of x."""
    design = np.column_stack([x, np.ones(x.shape[0])])
    penalty = np.append(np.full(x.shape[1], l2), _BIAS_RIDGE)
    coefficients = _newton(design, y, offset, penalty)
    return coefficients[:-1], float(coefficients[-1])


def _newton(
    design: FloatArray, y: FloatArray, offset: FloatArray, penalty: FloatArray
) -> FloatArray:
    """Newton's method on a convex objective. y: in [0, 1]. penalty: of each coefficient, per
    row."""
    coefficients = np.zeros(design.shape[1])
    reached = _penalised(design, y, offset, penalty, coefficients)
    for _ in range(_MAX_STEPS):
        p = _sigmoid(design @ coefficients + offset)
        gradient = design.T @ (p - y) / y.size + penalty * coefficients
        curvature = (design * (p * (1 - p))[:, None]).T @ design / y.size + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        if float(np.abs(step).max()) < _TOLERANCE:
            break
        # Where the offset is near certainty, the curvature is small and a whole step is too long.
        for _ in range(_HALVINGS):
            loss = _penalised(design, y, offset, penalty, coefficients - step)
            if loss <= reached:
                break
            step = step / 2
        coefficients, reached = coefficients - step, loss
    return coefficients


def _penalised(
    design: FloatArray,
    y: FloatArray,
    offset: FloatArray,
    penalty: FloatArray,
    coefficients: FloatArray,
) -> float:
    z = design @ coefficients + offset
    ridge = 0.5 * float(penalty @ coefficients**2)
    return float((np.logaddexp(0.0, z) - y * z).mean()) + ridge


def _cross_entropy(heads: Heads, x: FloatArray, held: FloatArray, known: Any) -> float:
    predicted = heads.expected_scores(x)
    graded = ~np.isnan(held) & known[None, :]
    if predicted is None or not graded.any():
        return 0.0
    return _entropy(held[graded], predicted[graded])


def _entropy(truth: FloatArray, predicted: FloatArray) -> float:
    p = np.clip(predicted, 1e-6, 1 - 1e-6)
    return float(-(truth * np.log(p) + (1 - truth) * np.log1p(-p)).mean())


def _sigmoid(logits: FloatArray) -> FloatArray:
    p: FloatArray = 1.0 / (1.0 + np.exp(-np.clip(logits, -500, 500)))
    return p
