"""What the router predicts before it sends: each model's value and cost on each prompt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2l_model.analysis.scored import PromptReader
from p2l_model.errors import DataError
from p2l_model.types import FloatArray, PromptLeaderboard
from router.objective import (
    Objective,
    is_known,
    objective_values,
    opponent_weights,
    win_rates,
)
from server.offline.simulate.columns import TableRows
from server.offline.simulate.table import ScoreTable

Labels = NDArray[np.str_]

_CHUNK: Final = 64
# The number of answers that the prior mean of a category counts as.
_PRIOR: Final = 5.0
_FOLDS: Final = 5


class Belief(NamedTuple):
    """Predicted value (P, M) in [0, 1] and cost_usd (P, M)."""

    value: FloatArray
    cost_usd: FloatArray


@dataclass(frozen=True, slots=True)
class Predicted:
    """A checkpoint's predictions for the table's models. value (P, M); output_tokens (P, M), NaN
    where not predicted; hidden (P, H), the features that its heads read."""

    objective: Objective
    value: FloatArray
    output_tokens: FloatArray
    hidden: FloatArray


def choose_objective(board: PromptLeaderboard, models: Collection[str]) -> Objective:
    """The objective that says most about graded answers: scores where the checkpoint predicts them
    for these models of its own, else the probability of a good answer, else the win rate."""
    scores = board.expected_scores
    if scores is not None:
        columns = [board.models.index(name) for name in models if name in board.models]
        if columns and np.isfinite(scores[columns]).all():
            return Objective.EXPECTED_SCORE
    return Objective.P_GOOD if is_known(Objective.P_GOOD, board) else Objective.WIN_RATE


def predict(
    reader: PromptReader,
    table: ScoreTable,
    objective: Objective | None,
    on_progress: Callable[[int], None],
) -> Predicted:
    """The predictions. objective: None for choose_objective's. Raises DataError where it cannot be
    predicted."""
    values, lengths, hidden = [], [], []
    rows = TableRows(table.models, reader.models)
    thoughts = np.array([rows.thoughts.get(name, 0.0) for name in table.models])
    for chunk in _chunks(reader, table, on_progress):
        hidden.append(reader.checkpoint.heads.hidden(chunk))
        for features in chunk:
            board = reader.checkpoint.leaderboard(features.astype(np.float32))
            objective = (
                choose_objective(board, rows.row.values()) if objective is None else objective
            )
            columns = [board.models.index(rows.row[name]) for name in table.models]
            found = _values(board, objective)[columns]
            for name, value in rows.shifted(board, objective).items():
                found[table.models.index(name)] = value
            values.append(found)
            lengths.append(_lengths(board)[columns] + thoughts)
    every = np.array(values)
    if objective is None or not np.isfinite(every).all():
        raise DataError(f"the checkpoint has no {objective} for some of the models")
    return Predicted(objective, every, np.array(lengths), np.concatenate(hidden))


def read_hidden(
    reader: PromptReader, table: ScoreTable, on_progress: Callable[[int], None]
) -> FloatArray:
    """The hidden features of the table's prompts, shape (P, H), which the checkpoint's heads
    read."""
    heads = reader.checkpoint.heads
    return np.concatenate([heads.hidden(chunk) for chunk in _chunks(reader, table, on_progress)])


def marginal_values(
    predicted: Predicted, train: ScoreTable | None, table: ScoreTable
) -> FloatArray:
    """One leaderboard for all prompts, shape (P, M): mean scores in training, or else the
    checkpoint's mean prediction."""
    row = predicted.value.mean(axis=0)
    if train is not None:
        row = np.nanmean(train.of_models(table.models, "").score, axis=0)
    return np.tile(row, (table.score.shape[0], 1))


def category_values(table: ScoreTable, train: ScoreTable | None) -> FloatArray | None:
    """A leaderboard for each category, where the category is known, shape (P, M): mean scores in
    training, shrunk towards the overall mean; without training scores, those of the other folds of
    the table itself. None where there are no categories."""
    if len(set(table.category.tolist())) < 2:
        return None
    if train is not None:
        known = train.of_models(table.models, "")
        return _by_category(known.score, known.category, table.category)
    fold = np.arange(table.score.shape[0]) % _FOLDS
    values = np.empty_like(table.score)
    for k in range(_FOLDS):
        inside = fold == k
        rest = ~inside
        values[inside] = _by_category(
            table.score[rest], table.category[rest], table.category[inside]
        )
    return values


def _chunks(
    reader: PromptReader, table: ScoreTable, on_progress: Callable[[int], None]
) -> Iterator[FloatArray]:
    """Chunks of up to _CHUNK feature rows, shape (n, F)."""
    n = len(table.conversations)
    for start in range(0, n, _CHUNK):
        yield reader.features(table.conversations[start : start + _CHUNK])
        on_progress(min(start + _CHUNK, n))


def _values(board: PromptLeaderboard, objective: Objective) -> FloatArray:
    if objective is not Objective.WIN_RATE:
        return objective_values(objective, board)
    opponents, weights = opponent_weights(board.models, board.coefficients, None)
    return win_rates(board.coefficients, opponents, weights)


def _lengths(board: PromptLeaderboard) -> FloatArray:
    lengths = board.expected_output_tokens
    return np.full(len(board.models), np.nan) if lengths is None else lengths


def _by_category(score: FloatArray, known: Labels, asked: Labels) -> FloatArray:
    overall = np.nanmean(score, axis=0)
    rows = {}
    for name in set(known.tolist()):
        inside = score[known == name]
        n = np.isfinite(inside).sum(axis=0)
        rows[name] = (np.nansum(inside, axis=0) + _PRIOR * overall) / (n + _PRIOR)
    return np.array([rows.get(name, overall) for name in asked.tolist()])
