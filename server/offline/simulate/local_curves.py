"""Curves with a local layer that has learnt from some graded answers, cross-validated.

For each seed the prompts are split into folds. For each fold, N pairs of a prompt and a model are
drawn with replacement from the other folds (where there are no more than N, each is taken once);
the local layer, and what it is compared with, learn from these same pairs; then they choose models
for the prompts of the fold. Costs are predicted for each prompt and model from what the other folds
cost: no choice sees a number of the row that it is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2l_model.analysis.prompt_terms import read_terms
from p2l_model.analysis.scored import PromptReader
from p2l_model.errors import DataError
from p2l_model.local.layer import LocalLayer
from p2l_model.local.terms import PromptTerms
from p2l_model.placement.place import Placer
from p2l_model.types import FloatArray, IntArray
from server.offline.simulate.costs import ReadPrompts, learnt_costs
from server.offline.simulate.curves import Curve, pick, prices_of
from server.offline.simulate.predict import Belief
from server.offline.simulate.table import CHARS_PER_TOKEN, ScoreTable

OURS: Final = "p2l"
MEANS: Final = "marginal"
CATEGORIES: Final = "per_category"
ORACLE: Final = "oracle"
# How many answers a mean counts for before any answer: the mean of all, or of a model over the
# categories.
_PRIOR: Final = 5.0


@dataclass(frozen=True, slots=True)
class Splits:
    """n_answers: learnt from, for each fold; all of the other folds where there are fewer. n_folds:
    2 for halves. n_seeds: how often the prompts are split anew."""

    n_answers: int
    n_folds: int = 2
    n_seeds: int = 10

    def check(self, n_prompts: int) -> None:
        """Raises DataError for numbers that no split can have. n_prompts: of the table."""
        if self.n_answers < 0:
            raise DataError("--local must be 0 or more answers")
        if self.n_seeds < 1:
            raise DataError("--seeds must be at least 1")
        if not 2 <= self.n_folds <= n_prompts:
            raise DataError(f"--folds must be from 2 to the number of prompts ({n_prompts})")


class Drawn(NamedTuple):
    """n graded answers: the indices of prompts and of models (n,), and the scores (n,)."""

    prompt: IntArray
    model: IntArray
    score: FloatArray


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a table's P prompts and M models before any answer. terms (P,): what the
    checkpoint says of each prompt. hidden (P, H): what its heads read. mean (M,), uncertain (M, M):
    of the models' strengths by public facts."""

    terms: tuple[PromptTerms, ...]
    hidden: FloatArray
    mean: FloatArray
    uncertain: FloatArray


def read_known(
    reader: PromptReader, table: ScoreTable, placer: Placer, on_progress: Callable[[int], None]
) -> Known:
    """Reads the prompts with the checkpoint, and places the models."""
    read = read_terms(reader, table.conversations, table.models, on_progress)
    return Known(read.terms, read.hidden, *placer.joint(table.models))


def local_curves(
    table: ScoreTable,
    known: Known,
    splits: Splits,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> dict[str, list[Curve]]:
    """The curves by name, one for each seed: the local layer, means of the models learnt from the
    same answers, means for each category (where there are several) likewise, and the oracle, which
    knows scores and costs. Point for point, the curves of a name have the same price of a USD, the
    highest first. Raises DataError."""
    splits.check(len(table.conversations))
    prices = prices_of(table.cost_usd)[::-1]
    curves: dict[str, list[Curve]] = {}
    for seed in range(splits.n_seeds):
        picks: dict[str, IntArray] = {}
        for asked, drawn in folds(table, splits, seed):
            for name, belief in beliefs(table, known, asked, drawn).items():
                shape = len(prices), len(table.conversations)
                found = picks.setdefault(name, np.empty(shape, dtype=np.int64))
                found[:, asked] = [pick(belief, price) for price in prices]
        for name, picked in picks.items():
            curves.setdefault(name, []).append(_curve(table, picked, prices))
        on_progress(seed + 1)
    return curves


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean over seeds, point by point, by rising cost; whom each seed picked."""
    cost = np.mean([curve.cost for curve in curves], axis=0)
    score = np.mean([curve.score for curve in curves], axis=0)
    order = np.argsort(cost.mean(axis=1), kind="stable")
    picked = [curve.picked for curve in curves if curve.picked is not None]
    weight = curves[0].weight
    return Curve(
        cost[order],
        score[order],
        np.concatenate(picked)[:, order] if picked else None,
        None if weight is None else weight[order],
    )


def mean_scores(drawn: Drawn, n_models: int) -> FloatArray:
    """Each model's mean (M,), drawn towards the mean of all, which is drawn towards half."""
    overall = (float(drawn.score.sum()) + 0.5) / (drawn.score.size + 1)
    return _shrunk(drawn.model, drawn.score, np.full(n_models, overall))


def category_scores(
    drawn: Drawn, n_models: int, known: NDArray[np.str_], asked: NDArray[np.str_]
) -> FloatArray:
    """Each model's mean in the category of each asked prompt (n, M), drawn towards its mean over
    all. known: the category of each prompt of the table."""
    overall = mean_scores(drawn, n_models)
    of_answer = known[drawn.prompt]
    rows = {
        name: _shrunk(drawn.model[of_answer == name], drawn.score[of_answer == name], overall)
        for name in set(asked.tolist())
    }
    return np.array([rows[name] for name in asked.tolist()])


def folds(
    table: ScoreTable, splits: Splits, seed: int
) -> Iterator[tuple[NDArray[np.bool_], Drawn]]:
    """Which prompts (P,) are asked, and the answers that are known by then, fold by fold."""
    chance = np.random.default_rng(seed)
    n_prompts, n_models = table.score.shape
    fold = chance.permutation(n_prompts) % splits.n_folds
    for k in range(splits.n_folds):
        known = np.flatnonzero(fold != k)
        n_pairs = known.size * n_models
        if splits.n_answers < n_pairs:
            pair = chance.integers(0, n_pairs, splits.n_answers)
        else:
            pair = chance.permutation(n_pairs)
        prompt, model = known[pair // n_models], pair % n_models
        yield fold == k, Drawn(prompt, model, table.score[prompt, model])


def beliefs(
    table: ScoreTable, known: Known, asked: NDArray[np.bool_], drawn: Drawn
) -> Mapping[str, Belief]:
    """What each method believes of the asked prompts."""
    cost = _costs(table, known, asked)
    n_asked, n_models = cost.shape
    beliefs = {
        OURS: Belief(_layer_values(table, known, asked, drawn), cost),
        MEANS: Belief(np.tile(mean_scores(drawn, n_models), (n_asked, 1)), cost),
        ORACLE: Belief(table.score[asked], table.cost_usd[asked]),
    }
    if len(set(table.category.tolist())) > 1:
        values = category_scores(drawn, n_models, table.category, table.category[asked])
        beliefs[CATEGORIES] = Belief(values, cost)
    return beliefs


def _costs(table: ScoreTable, known: Known, asked: NDArray[np.bool_]) -> FloatArray:
    """The expected costs in USD (n, M) of the asked prompts, by what the others cost. The tokens of
    a prompt are counted from its text: recorded ones may hold what a model read on its way."""
    chars = [sum(map(len, one.turns)) for one in table.conversations]
    counted = replace(table, input_tokens=np.array(chars) / CHARS_PER_TOKEN)
    paid, wanted = (
        ReadPrompts(counted.of_prompts(rows, "in another fold"), known.hidden[rows])
        for rows in (~asked, asked)
    )
    return learnt_costs(paid, wanted)


def _layer_values(
    table: ScoreTable, known: Known, asked: NDArray[np.bool_], drawn: Drawn
) -> FloatArray:
    """P(good) of each model (n, M) by a layer that has learnt from the drawn answers."""
    n_axes = len(known.terms[0].axes)
    layer = LocalLayer.start(table.models, known.mean, known.uncertain, n_axes)
    for prompt, model, score in zip(*drawn, strict=True):
        layer.learn_grade(table.models[model], float(score), known.terms[prompt])
    rows = np.flatnonzero(asked)
    return np.array([layer.predict(table.models, known.terms[row]).p_good for row in rows])


def _shrunk(model: IntArray, score: FloatArray, towards: FloatArray) -> FloatArray:
    total = np.bincount(model, weights=score, minlength=towards.size)
    means: FloatArray = (total + _PRIOR * towards) / (
        np.bincount(model, minlength=towards.size) + _PRIOR
    )
    return means


def _curve(table: ScoreTable, picked: IntArray, prices: Sequence[float]) -> Curve:
    """The curve of the models picked (J, P) at each price."""
    rows = np.arange(picked.shape[1])
    cost, score = table.cost_usd[rows, picked], table.score[rows, picked]
    return Curve(cost, score, picked[None], np.array(prices))
