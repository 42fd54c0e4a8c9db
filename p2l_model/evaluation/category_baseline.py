"""A baseline with one leaderboard per category, for votes whose category is given: a model that
reads the prompt must beat it to be worth more than a label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.checkpoint.manifest import Manifest, Marginal
from p2l_model.data.files import VoteTable
from p2l_model.errors import DataError
from p2l_model.evaluation.metrics import Predictions, predict
from p2l_model.fitting.linear import FitOptions, Prior, fit_heads, rows_bias
from p2l_model.types import FloatArray, IntArray, PreferenceFamily

# The prior standard deviation of a category's coefficients from the overall ones, in natural
# log-odds. Thousands of votes outweigh it; half or twice as much changes little.
PRIOR_DEVIATION: Final = 1.0

# A source and its category: the same label may have another meaning in another source.
Category = tuple[str, str]


@dataclass(frozen=True, slots=True)
class CategoryLeaderboards:
    """The leaderboards of C categories.

    table (C + 1, M + 2): the models' coefficients, eta and gamma of each category; the last row is
    the overall leaderboard, for categories that training never saw. rows: category -> row of the
    table.
    """

    family: PreferenceFamily
    rows: Mapping[Category, int]
    table: FloatArray

    def predict(self, votes: VoteTable) -> Predictions:
        """Predicts each vote from its own category. votes: between the table's models, in its
        order."""
        outputs = HeadOutputs(self.table[:, :-2], self.table[:, -2], self.table[:, -1])
        return predict(self.family, replace(votes, prompt=self._row_of(votes)), outputs)

    def n_unseen(self, votes: VoteTable) -> int:
        """How many votes get the overall leaderboard."""
        return int((self._row_of(votes) == len(self.rows)).sum())

    def _row_of(self, votes: VoteTable) -> IntArray:
        pairs = zip(votes.source.tolist(), votes.category.tolist(), strict=True)
        return np.array([self.rows.get(pair, len(self.rows)) for pair in pairs], dtype=np.int64)


def fit_categories(manifest: Manifest, train: VoteTable) -> CategoryLeaderboards:
    """Fits one leaderboard per category of `train`, in the checkpoint's family and for its models.

    Each is the posterior mode under a Gaussian prior around the checkpoint's own marginal
    leaderboard: a model without votes in the category keeps exactly its overall coefficient, one
    with few votes moves little, and none diverges by winning everything.

    Raises DataError where no vote is between models of the checkpoint, TrainingError.
    """
    known = train.among(manifest.models)
    known = known.where(known.weight > 0)
    if len(known) == 0:
        raise DataError("no training vote is between two models that the checkpoint knows")
    overall = _row(manifest.marginal)
    rows: dict[Category, int] = {}
    table: list[FloatArray] = []
    for source, category in sorted(set(zip(known.source, known.category, strict=True))):
        votes = known.where((known.source == source) & (known.category == category))
        rows[str(source), str(category)] = len(table)
        table.append(_fit(manifest.family, votes, overall))
    return CategoryLeaderboards(manifest.family, rows, np.stack([*table, overall]))


def _fit(family: PreferenceFamily, votes: VoteTable, overall: FloatArray) -> FloatArray:
    """Fits one row (M + 2,), without features, so that all prompts are treated alike."""
    strength = 1 / (2 * PRIOR_DEVIATION**2 * float(votes.weight.sum()))
    votes = replace(votes, prompt=np.zeros_like(votes.prompt))
    options = FitOptions(family, l2=0.0, l2_common=0.0)
    return rows_bias(fit_heads(np.zeros((1, 0)), votes, options, Prior(overall, strength)))


def _row(marginal: Marginal) -> FloatArray:
    tail = [0.0 if raw is None else raw for raw in (marginal.eta, marginal.gamma)]
    return np.array([*marginal.coefficients, *tail], dtype=np.float64)
