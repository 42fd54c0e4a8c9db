"""Users' leaderboards from their prompts alone, shrunk towards that of all users (empirical
Bayes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from p2l_model.analysis.aggregate import Aggregation
from p2l_model.analysis.leaderboard import Leaderboard, rows_of
from p2l_model.errors import DataError
from p2l_model.types import FloatArray

# Half the width of a 95% interval, in standard deviations.
_HALF: Final = 1.96
_MIN_USERS: Final = 2


def by_user(found: Aggregation) -> Aggregation:
    """Shrinks the groups, which are users, towards the population: a user's coefficients become

        population + between / (between + within / n) x (the user's own - population)

    between: the variance of users' true leaderboards, by model. within: the variance from one
    prompt to the next, the mean over users (a bootstrap of a handful of prompts would give too
    narrow intervals). n: the number of the user's prompts. The intervals are the posterior's.
    Raises DataError where the spread cannot be known.
    """
    users = found.groups
    if len(users) < _MIN_USERS:
        raise DataError("how users differ can be learnt from two users at least")
    models = sorted(found.overall.models)
    own = {name: _coefficients(board, models) for name, board in users.items()}
    within = _within(users, models)
    variance = {name: within / board.n_prompts for name, board in users.items()}
    population = _coefficients(found.overall, models)
    drawn, between = shrunk(own, variance, population)
    boards = {
        name: _board(board, models, drawn[name], _posterior(between, variance[name]))
        for name, board in users.items()
    }
    return Aggregation(found.overall, boards)


def shrunk(
    own: Mapping[str, FloatArray], variance: Mapping[str, FloatArray], population: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Shrinks users' aggregated leaderboards (U, M) towards the population's (M,).

    own: each user's coefficients (M,); variance: their variance from the sampling of that user's
    prompts. Returns the shrunk coefficients by user, and `between` (M,): the variance of users'
    true leaderboards, which is their spread less that of the sampling (moments of DerSimonian and
    Laird); 0 where users differ no more than by chance. A user's own result has the weight between
    / (between + variance).
    """
    names = list(own)
    values = np.array([own[name] for name in names]) - population  # (U, M)
    spread = np.maximum(np.array([variance[name] for name in names]), 1e-12)
    weight = 1 / spread
    mean = (weight * values).sum(axis=0) / weight.sum(axis=0)
    excess = (weight * (values - mean) ** 2).sum(axis=0) - (len(names) - 1)
    room = weight.sum(axis=0) - (weight**2).sum(axis=0) / weight.sum(axis=0)
    between = np.maximum(excess / np.maximum(room, 1e-12), 0.0)
    kept = between / (between + spread)
    return dict(zip(names, population + kept * values, strict=True)), between


def _within(users: Mapping[str, Leaderboard], models: list[str]) -> FloatArray:
    """The variance (M,) of a coefficient from prompt to prompt."""
    known = [
        _deviations(board, models) ** 2 * board.n_prompts
        for board in users.values()
        if all(row.ci95 is not None for row in board)
    ]
    if not known:
        raise DataError(
            "how much a user's leaderboard moves by chance cannot be known: it takes --resamples "
            "above 0 and a user with several prompts"
        )
    within: FloatArray = np.mean(known, axis=0)
    return within


def _deviations(board: Leaderboard, models: list[str]) -> FloatArray:
    width = {row.model: row.ci95[1] - row.ci95[0] for row in board if row.ci95 is not None}
    return np.array([width[name] / (2 * _HALF) for name in models])


def _posterior(between: FloatArray, variance: FloatArray) -> FloatArray:
    """Standard deviations (M,)."""
    safe = np.maximum(between + variance, np.finfo(np.float64).tiny)
    deviation: FloatArray = np.sqrt(between * variance / safe)
    return deviation


def _coefficients(board: Leaderboard, models: list[str]) -> FloatArray:
    by_name = {row.model: row.coefficient for row in board}
    return np.array([by_name[name] for name in models])


def _board(
    board: Leaderboard, models: list[str], coefficients: FloatArray, deviation: FloatArray
) -> Leaderboard:
    ci95 = coefficients[:, None] + _HALF * np.outer(deviation, (-1.0, 1.0))
    return replace(board, rows=rows_of(models, coefficients, ci95, None))
