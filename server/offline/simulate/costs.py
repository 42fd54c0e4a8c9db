"""Expected costs of answers: by prices and predicted lengths, as in the gateway, or else learnt
from the costs of graded answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np

from p2l_model.analysis.scored import PromptReader
from p2l_model.fitting.ridge import fit_ridge, lacking
from p2l_model.types import FloatArray
from server.offline.simulate.columns import of_model
from server.offline.simulate.predict import Predicted, read_hidden
from server.offline.simulate.table import ScoreTable, TokenPrices

# Beyond the observed range, a straight line in the logarithm is only a guess.
_BEYOND: Final = np.log(2.0)


class ReadPrompts(NamedTuple):
    """A table, and the hidden features that the checkpoint's heads read of its prompts: hidden (P,
    H)."""

    table: ScoreTable
    hidden: FloatArray


def expected_costs(
    reader: PromptReader,
    table: ScoreTable,
    predicted: Predicted,
    prices: Mapping[str, TokenPrices],
    train: ScoreTable | None = None,
    on_progress: Callable[[str, int, int], None] = lambda _stage, _done, _of: None,
) -> tuple[FloatArray, str]:
    """Expected costs in USD, shape (P, M), and their source: as in the gateway where possible. The
    costs of the answers that are being judged are used only where nothing else is known."""
    priced = priced_costs(table, predicted, prices)
    if priced is not None:
        return priced, "prices and predicted lengths"
    if train is None:
        missing = unpriced(table, predicted, prices)
        return mean_costs(table), f"each model's mean cost in the scores themselves: {missing}"
    n = len(train.conversations)
    hidden = read_hidden(reader, train, lambda done: on_progress("training prompts", done, n))
    cost = learnt_costs(ReadPrompts(train, hidden), ReadPrompts(table, predicted.hidden))
    return cost, "the training scores' costs, by prompt (the gateway: prices and predicted lengths)"


def priced_costs(
    table: ScoreTable, predicted: Predicted, prices: Mapping[str, TokenPrices]
) -> FloatArray | None:
    """The costs in USD that the gateway expects, shape (P, M): prices and predicted lengths. None
    where a model lacks one of them."""
    lengths = predicted.output_tokens
    known = [price for name in table.models if (price := of_model(prices, name)) is not None]
    if len(known) < len(table.models) or not np.isfinite(lengths).all():
        return None
    columns = [price.cost_usd(table.input_tokens, lengths[:, k]) for k, price in enumerate(known)]
    return np.column_stack(columns)


def unpriced(table: ScoreTable, predicted: Predicted, prices: Mapping[str, TokenPrices]) -> str:
    """What the gateway's own way needs and has not: prices, or predicted lengths."""
    if not prices:
        return "give --prices, or --train-scores, so that costs are expected as the gateway does"
    bare = [name for name in table.models if of_model(prices, name) is None]
    if bare:
        return f"--prices has no price of {', '.join(bare)}; or give --train-scores"
    known = np.isfinite(predicted.output_tokens)
    bare = [name for k, name in enumerate(table.models) if not known[:, k].all()]
    return (
        f"the checkpoint predicts no answer lengths of {', '.join(bare)}, so that their prices "
        "alone do not tell; give --train-scores"
    )


def mean_costs(table: ScoreTable) -> FloatArray:
    """Each model's mean cost in USD, shape (P, M), where nothing else is known."""
    return np.tile(table.cost_usd.mean(axis=0), (table.score.shape[0], 1))


def learnt_costs(train: ReadPrompts, asked: ReadPrompts) -> FloatArray:
    """Learnt costs in USD of the asked table's models, shape (P, M).

    Each model must be graded and priced in training. log(cost of model m on prompt z) is fitted by
    ridge regression on the hidden features of z and on the length of z: it replaces a length head
    and prices where the data have costs and no lengths. On average over the training prompts, each
    left out in turn, it equals what was paid.
    """
    columns = [train.table.models.index(name) for name in asked.table.models]
    cost = train.table.cost_usd[:, columns]
    logs = np.log(np.maximum(cost, _least(cost)))
    fit = fit_ridge(_design(train), logs)
    expected = np.clip(
        _design(asked) @ fit.weight.T + fit.bias,
        np.nanmin(logs, axis=0) - _BEYOND,
        np.nanmax(logs, axis=0) + _BEYOND,
    )
    free = np.nanmax(cost, axis=0) == 0
    found: FloatArray = np.exp(expected) * np.where(free, 0.0, lacking(logs, fit.left_out))
    return found


def _least(cost: FloatArray) -> float:
    paid = cost[cost > 0]
    return float(paid.min()) if paid.size > 0 else 1.0


def _design(prompts: ReadPrompts) -> FloatArray:
    return np.column_stack([prompts.hidden, np.log1p(prompts.table.input_tokens)])
