"""How long each model's answers are, by prompt: a log-normal regression (Prompt-to-Regression).

log(output tokens) of model m on prompt z ~ Normal(w_m . x(z) + b_m, sigma_m^2): ridge per model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.data import IntArray, VoteTable
from p2l_model.types import FloatArray

# Fewer answers than this say too little of a model's lengths.
MIN_ANSWERS: Final = 50
# Their hidden reasoning is billed but not in the data: a length from it would be far too low.
HIDDEN_REASONING: Final = frozenset({"o1-mini-2024-09-12", "o1-preview-2024-09-12"})


@dataclass(frozen=True, slots=True)
class LengthHead:
    """weight (M, H), bias (M,); per model the residual's deviation and the mean number of tokens,
    None where not known."""

    weight: FloatArray
    bias: FloatArray
    sigma: list[float | None]
    mean_tokens: list[float | None]


def fit_lengths(features: FloatArray, votes: VoteTable, l2: float) -> LengthHead | None:
    """From the lengths that the votes carry; None where no model has MIN_ANSWERS of them.

    features: (P, H). l2: ridge penalty on standardised features, per answer.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    x = (features - mean) / scale
    n_models = len(votes.models)
    weight, bias = np.zeros((n_models, x.shape[1])), np.zeros(n_models)
    sigma: list[float | None] = [None] * n_models
    mean_tokens: list[float | None] = [None] * n_models
    for model, name in enumerate(votes.models):
        prompts, logs = _answers(votes, model)
        if logs.size < MIN_ANSWERS or name in HIDDEN_REASONING:
            continue
        weight[model], bias[model] = _ridge(x[prompts], logs, l2 * logs.size)
        residual = logs - x[prompts] @ weight[model] - bias[model]
        sigma[model] = float(residual.std())
        mean_tokens[model] = float(np.exp(logs).mean())
    if all(one is None for one in sigma):
        return None
    weight = weight / scale
    return LengthHead(weight, bias - weight @ mean, sigma, mean_tokens)


def _answers(votes: VoteTable, model: int) -> tuple[IntArray, FloatArray]:
    """(prompt, log tokens) of the model's answers, one per prompt."""
    sides = ((votes.model_a, votes.output_tokens_a), (votes.model_b, votes.output_tokens_b))
    prompts, tokens = [], []
    for side, lengths in sides:
        rows = (side == model) & (lengths > 0)
        prompts.append(votes.prompt[rows])
        tokens.append(lengths[rows])
    unique, first = np.unique(np.concatenate(prompts), return_index=True)
    return unique, np.log(np.concatenate(tokens)[first])


def _ridge(x: FloatArray, y: FloatArray, penalty: float) -> tuple[FloatArray, float]:
    centre, level = x.mean(axis=0), float(y.mean())
    z = x - centre
    weight: FloatArray = np.linalg.solve(z.T @ z + penalty * np.eye(x.shape[1]), z.T @ (y - level))
    return weight, level - float(weight @ centre)
