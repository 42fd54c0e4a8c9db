"""Curves with a local layer: what learns from which answers, and what is read of a decided row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from p2l_model.errors import DataError
from p2l_model.local.terms import PromptTerms
from p2l_model.types import Conversation
from server.offline.simulate.curves import bootstrap_weights, single_models
from server.offline.simulate.local_curves import (
    CATEGORIES,
    MEANS,
    ORACLE,
    OURS,
    Drawn,
    Known,
    Splits,
    beliefs,
    category_scores,
    folds,
    local_curves,
    mean_curve,
    mean_scores,
)
from server.offline.simulate.local_study import AREA, EQUAL, LEVELS, measured, measures_of
from server.offline.simulate.table import ScoreTable

MODELS = ("weak", "strong", "odd")


def table_of(n: int = 40, seed: int = 0) -> ScoreTable:
    """ "strong" is right nine times in ten, "weak" three; "odd" is right in category y alone."""
    chance = np.random.default_rng(seed)
    category = np.array(["xy"[k % 2] for k in range(n)])
    right = np.column_stack([np.full(n, 0.3), np.full(n, 0.9), np.where(category == "y", 1.0, 0.0)])
    return ScoreTable(
        tuple(Conversation((f"prompt {k} " + "word " * k,)) for k in range(n)),
        MODELS,
        (chance.random((n, 3)) < right).astype(float),
        np.exp(chance.normal(size=(n, 3)) * 0.1) * [1e-4, 1e-3, 1e-3],
        np.full(n, 1e9),
        category,
    )


def known_of(table: ScoreTable) -> Known:
    n, m = table.score.shape
    return Known(
        tuple(PromptTerms() for _ in range(n)),
        np.random.default_rng(1).normal(size=(n, 4)),
        np.zeros(m),
        0.3 * np.eye(m),
    )


def test_nothing_is_read_of_the_rows_that_are_decided() -> None:
    table = table_of()
    known = known_of(table)
    for asked, drawn in folds(table, Splits(30, 4, 1), 0):
        assert not asked[drawn.prompt].any()
        others = replace(
            table,
            score=np.where(asked[:, None], 1 - table.score, table.score),
            cost_usd=np.where(asked[:, None], 5.0, table.cost_usd),
            input_tokens=np.where(asked, 0.0, table.input_tokens),
        )
        before, after = beliefs(table, known, asked, drawn), beliefs(others, known, asked, drawn)
        assert set(before) == {OURS, MEANS, CATEGORIES, ORACLE}
        for name in (OURS, MEANS, CATEGORIES):
            np.testing.assert_array_equal(before[name].value, after[name].value)
            np.testing.assert_array_equal(before[name].cost_usd, after[name].cost_usd)
        assert (before[ORACLE].value != after[ORACLE].value).any()


def test_every_prompt_is_decided_once_a_seed() -> None:
    table = table_of()
    times = sum(asked.astype(int) for asked, _ in folds(table, Splits(5, 3, 1), 7))
    np.testing.assert_array_equal(times, 1)


def test_where_there_are_fewer_answers_each_is_learnt_once() -> None:
    table = table_of()
    for asked, drawn in folds(table, Splits(10**6, 4, 1), 0):
        pairs = set(zip(drawn.prompt.tolist(), drawn.model.tolist(), strict=True))
        assert len(pairs) == drawn.score.size == int((~asked).sum()) * 3


def test_means_and_categories_are_shrunk() -> None:
    drawn = Drawn(np.array([0, 0, 1, 3]), np.array([0, 0, 0, 1]), np.array([1.0, 1.0, 1.0, 0.0]))
    means = mean_scores(drawn, 3)
    overall = 3.5 / 5
    assert means == pytest.approx([(3 + 5 * overall) / 8, 5 * overall / 6, overall])
    known = np.array(["x", "y", "x", "y"])
    found = category_scores(drawn, 3, known, np.array(["y", "new"]))
    assert found[0] == pytest.approx([(1 + 5 * means[0]) / 6, (0 + 5 * means[1]) / 6, means[2]])
    assert found[1] == pytest.approx(means)


@pytest.mark.slow
def test_answers_move_the_curve_to_the_better_model() -> None:
    table = table_of(120)
    known = known_of(table)
    best = {n: mean_curve(local_curves(table, known, Splits(n, 2, 3))[OURS]) for n in (0, 200)}
    tops = {n: float(curve.score.mean(axis=1).max()) for n, curve in best.items()}
    singles = single_models(table).score.mean(axis=1)
    assert tops[200] > tops[0] + 0.1
    assert tops[200] > singles[1] - 0.05


@pytest.mark.slow
def test_the_difference_from_means_is_paired() -> None:
    table = table_of(60)
    curves = local_curves(table, known_of(table), Splits(40, 2, 2))
    weights, measures = bootstrap_weights(60, 0, 50), measures_of(table)
    same = measured(curves[MEANS], measures, weights, curves[MEANS])
    assert list(same) == [AREA, EQUAL, *LEVELS]
    assert all(tuple(one) == (0.0, 0.0, 0.0) for one in same.values())
    ours, means = (measured(curves[name], measures, weights) for name in (OURS, MEANS))
    less = measured(curves[OURS], measures, weights, curves[MEANS])
    for name, one in less.items():
        assert one.value == pytest.approx(ours[name].value - means[name].value)


def test_a_measure_is_its_mean_over_the_seeds() -> None:
    table = table_of(60)
    curves = local_curves(table, known_of(table), Splits(40, 2, 3))[OURS]
    weights, measures = bootstrap_weights(60, 0, 5), measures_of(table)
    alone = [measured([one], measures, weights) for one in curves]
    assert len(alone) == 3
    for name, one in measured(curves, measures, weights).items():
        assert one.value == pytest.approx(np.mean([found[name].value for found in alone]))


@pytest.mark.parametrize("splits", [Splits(-1), Splits(5, 1), Splits(5, 41), Splits(5, 2, 0)])
def test_splits_that_cannot_be_are_refused(splits: Splits) -> None:
    table = table_of()
    with pytest.raises(DataError, match="--"):
        local_curves(table, known_of(table), splits)
