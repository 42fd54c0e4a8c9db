"""Curves of worlds whose best answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from p2l_model.types import Conversation
from server.offline.simulate.curves import (
    bootstrap_weights,
    curve_of,
    envelope,
    gain_over,
    pick,
    points,
    saving_at_equal_scores,
    saving_of,
    single_models,
)
from server.offline.simulate.predict import Belief, category_values
from server.offline.simulate.table import ScoreTable


def table(score: np.ndarray, cost: np.ndarray, category: list[str] | None = None) -> ScoreTable:
    n, m = score.shape
    return ScoreTable(
        tuple(Conversation((str(k),)) for k in range(n)),
        tuple(f"m{k}" for k in range(m)),
        score.astype(float),
        np.broadcast_to(cost, score.shape).astype(float),
        np.full(n, 10.0),
        np.array(category or [""] * n),
    )


def half_hard(n: int = 200) -> ScoreTable:
    """Easy prompts that both models get right, hard ones that only the dear one does."""
    hard = np.arange(n) % 2 == 1
    score = np.column_stack([~hard, np.ones(n, dtype=bool)])
    return table(score, np.array([1.0, 10.0]), ["hard" if h else "easy" for h in hard])


def test_knowing_the_hard_prompts_saves_half_of_the_dear_models_cost() -> None:
    world, flat = half_hard(), np.ones(200)
    ours = curve_of(world, Belief(world.score, world.cost_usd))
    singles = single_models(world)
    cost, score = ours.means(flat)
    assert (5.5, 1.0) in [(c, s) for c, s in zip(cost, score, strict=True)]
    assert saving_of(ours, singles, 1, flat) == pytest.approx(0.45)
    # the mix rises 0.5 over 9 USD; ours does so over 4.5: half the triangle's height on average
    assert gain_over(ours, singles, flat) == pytest.approx(0.125, abs=0.002)


def test_knowing_nothing_gains_and_saves_nothing() -> None:
    world, flat = half_hard(), np.ones(200)
    constant = Belief(np.tile([0.5, 0.99], (200, 1)), world.cost_usd)
    ours = curve_of(world, constant)
    assert gain_over(ours, single_models(world), flat) == pytest.approx(0.0, abs=1e-9)
    assert saving_of(ours, single_models(world), 1, flat) == 0.0


def test_savings_at_lower_and_at_equal_scores() -> None:
    world, flat = half_hard(), np.ones(200)
    singles = single_models(world)
    ours = curve_of(world, Belief(world.score, world.cost_usd))
    # a quarter of the hard prompts is not worth the dear model: 1 + 0.5 * 4.5 of 10
    assert saving_of(ours, singles, 1, flat, 0.75) == pytest.approx(0.675)
    # on average 3.25 for what costs the mix 5.5
    assert saving_at_equal_scores(ours, singles, flat) == pytest.approx(1 - 3.25 / 5.5)
    cheap = curve_of(world, Belief(np.ones((200, 2)), world.cost_usd))
    assert saving_at_equal_scores(cheap, singles, flat) == pytest.approx(0.0)


def test_a_score_is_reached_from_the_cheapest_point_of_a_level() -> None:
    """Three models with scores 0.5, 0.5 and 1 at 1, 4 and 10 USD: for 0.75, half of the requests go
    to the first and half to the last, at 5.5 USD, and none to the second."""
    score = np.column_stack([np.arange(200) % 2, np.arange(200) % 2, np.ones(200)])
    world, flat = table(score, np.array([1.0, 4.0, 10.0])), np.ones(200)
    singles = single_models(world)
    assert saving_of(singles, singles, 2, flat, 0.75) == pytest.approx(1 - 5.5 / 10)


@pytest.mark.parametrize("less", [0.0, 2e-16, -2e-16])
def test_the_saving_at_the_best_score_does_not_depend_on_rounding(less: float) -> None:
    """A router that asks the best model where it is needed reaches its score, whatever the last
    digits of the two means are."""
    world, flat = half_hard(), np.ones(200)
    ours = curve_of(world, Belief(world.score, world.cost_usd))
    rounded = replace(ours, score=ours.score * (1.0 - less))
    assert saving_of(rounded, single_models(world), 1, flat) == pytest.approx(0.45)


def test_a_router_that_is_wrong_loses() -> None:
    world, flat = half_hard(), np.ones(200)
    wrong = Belief(world.score[::-1], world.cost_usd)
    assert gain_over(curve_of(world, wrong), single_models(world), flat) < -0.05


def test_the_category_is_as_good_as_the_truth_where_it_tells_all() -> None:
    world = half_hard()
    values = category_values(world, None)
    assert values is not None
    flat = np.ones(200)
    told = curve_of(world, Belief(values, world.cost_usd))
    assert saving_of(told, single_models(world), 1, flat) == pytest.approx(0.45)
    assert category_values(table(world.score, world.cost_usd[0]), None) is None


def test_the_best_mix_of_single_models_is_a_hull() -> None:
    cost, score = envelope(np.array([1.0, 2, 3, 4, 2]), np.array([0.1, 0.2, 0.5, 0.4, 0.25]))
    assert cost.tolist() == [1, 3]
    assert score.tolist() == [0.1, 0.5]


def test_picks_and_intervals() -> None:
    belief = Belief(np.array([[0.5, 0.5], [0.2, 0.9]]), np.array([[2.0, 1.0], [1.0, 2.0]]))
    assert pick(belief, 0.0).tolist() == [1, 1], "among equals the cheaper"
    assert pick(belief, np.inf).tolist() == [1, 0]
    world = half_hard(400)
    row = points(single_models(world), bootstrap_weights(400, 0))[0]
    assert row["score"] == 0.5
    low, high = row["ci95"]
    assert low == pytest.approx(0.45, abs=0.01)
    assert high == pytest.approx(0.55, abs=0.01)
