"""Findings of worlds whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from p2l_model.errors import DataError
from p2l_model.types import Conversation
from server.offline.report import words
from server.offline.report.findings import Findings, Verdict, find
from server.offline.report.measured import measured
from server.offline.report.reach import costs_of, reach, steps
from server.offline.simulate.curves import bootstrap_weights, curve_of
from server.offline.simulate.predict import Belief
from server.offline.simulate.table import ScoreTable


def table(score: np.ndarray, cost: list[float], kinds: list[str] | None = None) -> ScoreTable:
    n, m = score.shape
    return ScoreTable(
        tuple(Conversation((str(k),)) for k in range(n)),
        tuple(f"m{k}" for k in range(m)),
        score.astype(float),
        np.broadcast_to(np.array(cost), score.shape).astype(float),
        np.full(n, 10.0),
        np.array(kinds or [""] * n),
    )


def found(world: ScoreTable, value: np.ndarray, against: str | None = None) -> Findings:
    curve = curve_of(world, Belief(value, world.cost_usd))
    weights = bootstrap_weights(len(world.conversations), 0, 200)
    return find(measured(world, curve, weights), against)


def half_hard(n: int = 400) -> ScoreTable:
    """Easy prompts that both models get right, hard ones that only the dear one does."""
    hard = np.arange(n) % 2 == 1
    score = np.column_stack([~hard, np.ones(n, dtype=bool)])
    return table(score, [0.001, 0.01], ["hard" if h else "easy" for h in hard])


def test_a_mix_of_two_settings_is_a_straight_line_in_dollars() -> None:
    cost, score = np.array([1.0, 4.0, 9.0]), np.array([0.2, 0.5, 0.6])
    assert reach(cost, score, 0.3) == pytest.approx((2.0, 0.3, 0, 1, 1 / 3))
    assert reach(cost, score, 0.55) == pytest.approx((6.5, 0.55, 1, 2, 0.5))
    assert reach(cost, score, 0.1) == (1.0, 0.2, 0, 0, 1.0)
    assert reach(cost, score, 0.7) is None
    # a dearer setting that scores less counts with the cheaper one, by their mean
    assert reach(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.4, 0.6]), 0.55) == pytest.approx(
        (7 / 3, 0.55, 0, 2, 2 / 3)
    )
    assert costs_of(cost, score, np.array([0.3, 0.55, 0.1, 0.7])).tolist() == pytest.approx(
        [2.0, 6.5, 1.0, np.inf]
    )


def test_steps_are_the_isotonic_regression() -> None:
    chance = np.random.default_rng(0)
    for n in (1, 2, 40):
        cost, score = chance.permutation(n) + 1.0, chance.random(n)
        found = steps(cost, score)
        fitted = isotonic_regression(score[np.argsort(cost)]).x
        at = np.searchsorted(found.cost, np.sort(cost), side="right") - 1
        np.testing.assert_allclose(found.score[at], fitted)


def test_who_knows_the_hard_prompts_pays_half_and_is_told_so() -> None:
    world = half_hard()
    known = found(world, world.score)
    assert known.verdict is Verdict.SAVES
    assert known.baseline.model == "m1"
    # all right costs 5.5 of 10 dollars; one percent less mixes in the cheap model's half right
    assert known.offers[0].usd.value == pytest.approx(5.5)
    assert known.pays.value == pytest.approx(5.41)
    assert known.instead.value == pytest.approx(10.0)
    low, high = known.saved.low, known.saved.high
    assert low is not None
    assert high is not None
    assert low < 0.459 < high
    said = words.headline(known)
    assert said.startswith("At 99% of the quality of m1 you pay $5.41 [$")
    assert "instead of $10.00 per 1,000 requests: 46% less [4" in said
    shares = {kind.name: dict(kind.shares) for kind in known.kinds}
    assert shares["easy"] == {"m0": 1.0}
    assert shares["hard"]["m1"] == pytest.approx(0.98)


def test_a_best_model_that_is_cheap_leaves_nothing_to_save() -> None:
    chance = np.random.default_rng(0)
    score = np.column_stack([chance.random(400) < 0.9, chance.random(400) < 0.6])
    world = table(score, [0.001, 0.01])
    nothing = found(world, np.tile([0.9, 0.6], (400, 1)))
    assert nothing.verdict is Verdict.NOTHING
    assert words.headline(nothing).startswith("Nothing to save here:")
    assert {share for kind in nothing.kinds for share in kind.shares} == {("m0", 1.0)}
    # whoever pays for the dear one today learns what it costs him
    assert "Whoever uses m1 today pays $10.00" in " ".join(words.explanation(nothing))
    against = found(world, np.tile([0.9, 0.6], (400, 1)), "m1")
    assert against.asked_for
    assert against.verdict is Verdict.SAVES
    assert against.pays.value == pytest.approx(1.0)
    assert "The best quality is that of m0" in " ".join(words.explanation(against))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("level", [0.9, 0.7])
def test_findings_do_not_depend_on_how_a_processor_rounds(level: float, seed: int) -> None:
    """On another one the same mean differs in its last digits: between two models that are equally
    good, and between the router that asks one model always and that model alone."""
    chance = np.random.default_rng(0)
    score = np.column_stack([chance.random(400) < level, np.zeros(400), chance.random(400) < 0.6])
    score[:, 1] = chance.permutation(score[:, 0])
    world = table(score, [0.001, 0.002, 0.01])
    known = curve_of(world, Belief(np.tile([0.9, 0.8, 0.6], (400, 1)), world.cost_usd))
    exact = measured(world, known, bootstrap_weights(400, 0, 50))
    rounded = np.random.default_rng(seed)
    changed = {
        name: (mean := getattr(exact, name))
        * (1.0 + 4e-16 * rounded.choice([-1, 0, 1], mean.shape))
        for name in ("single_cost", "single_score", "router_cost", "router_score")
    }
    one, other = find(exact), find(replace(exact, **changed))
    assert (other.verdict, other.best) == (one.verdict, one.best) == (Verdict.NOTHING, "m0")
    assert other.kinds == one.kinds
    assert other.kinds[0].shares == (("m0", 1.0),)
    assert other.offers[0].usd.value == pytest.approx(one.offers[0].usd.value)
    assert other.offers[0].saved.value == pytest.approx(one.offers[0].saved.value)


def test_sending_one_percent_to_nobody_is_no_saving() -> None:
    """99% of the quality costs 99% of the money where a free model is always wrong."""
    score = np.column_stack([np.zeros(400), np.ones(400)])
    world = table(score, [0.0, 0.01])
    trivial = found(world, score)
    assert trivial.saved.value == pytest.approx(0.01)
    assert trivial.verdict is Verdict.NOTHING


def test_few_prompts_settle_nothing_and_the_price_of_settling_is_told() -> None:
    chance = np.random.default_rng(3)
    score = np.column_stack([chance.random(30) < 0.6, chance.random(30) < 0.7])
    world = table(score, [0.001, 0.01])
    open_ = found(world, np.tile([0.6, 0.7], (30, 1)) + 0.2 * chance.normal(size=(30, 2)))
    assert open_.verdict is Verdict.UNSETTLED
    assert words.headline(open_).startswith("Not settled whether there is anything to save.")
    assert "too narrow" in words.caution(open_)[0]
    assert words.caution(found(half_hard(), half_hard().score)) == []
    questions = " ".join(words.open_questions(open_))
    assert "settle" in questions
    (rival,) = open_.rivals
    assert rival.behind.low is not None
    assert rival.behind.low <= 0
    if rival.prompts is not None:
        assert rival.usd == pytest.approx(rival.prompts * 0.011)
        assert f"{rival.prompts:,} more prompts" in questions


def test_what_settles_a_difference_shrinks_it_to_its_interval() -> None:
    """Of 20 prompts, 5 are solved by the one model alone and 4 by the other alone."""
    pattern = np.array([[0, 1]] * 5 + [[1, 0]] * 4 + [[1, 1]] * 11)
    (rival,) = found(
        table(np.tile(pattern, (5, 1)), [0.001, 0.01]), np.tile(pattern, (5, 1))
    ).rivals
    assert rival.model == "m0"
    assert rival.prompts == pytest.approx(590, rel=0.3)
    for times, settled in ((0.7, False), (1.4, True)):
        n = 5 + round(times * rival.prompts / 20)
        world = table(np.tile(pattern, (n, 1)), [0.001, 0.01])
        assert (found(world, world.score).rivals == ()) is settled


def test_against_a_model_that_was_not_graded() -> None:
    world = half_hard()
    with pytest.raises(DataError, match="must be one of m0, m1"):
        found(world, world.score, "gpt-9")


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0.0, "$0"), (0.00042, "$0.00042"), (0.0931, "$0.093"), (0.5, "$0.50"), (14.449, "$14.45"),
     (1164.6, "$1,164.60"), (float("inf"), "–")],
)  # fmt: skip
def test_dollars(amount: float, said: str) -> None:
    assert words.usd(amount) == said
