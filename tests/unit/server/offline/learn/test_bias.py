"""Biases that are put in are found, and taken out; where there are none, none are found."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from server.offline.learn.bias import Verdict, measured

STRENGTHS = {"weak": -0.8, "even": 0.0, "good": 1.0}


def verdicts(n: int, *, length: float, position: float, seed: int = 0) -> list[Verdict]:
    """good is short, weak is long; each pair in both orders."""
    chance = random.Random(seed)
    usual = {"weak": 400.0, "even": 0.0, "good": -300.0}
    found = []
    for number in range(n):
        for model, strength in STRENGTHS.items():
            longer = round(chance.gauss(usual[model], 300))
            for first in (True, False):
                lean = strength + length * math.tanh(longer / 400) + position * (2 * first - 1)
                value = float(chance.random() < 0.5 * (1 + math.tanh(lean / 2)))
                found.append(Verdict(str(number), model, "judge", longer, first, value))
    return found


def test_biases_are_found() -> None:
    bias = measured(verdicts(400, length=1.2, position=0.7))
    assert bias.length_ci95[0] < 1.2 < bias.length_ci95[1]
    assert bias.position_ci95[0] < 0.7 < bias.position_ci95[1]
    assert bias.length_ci95[0] > 0
    assert bias.first_wins is not None
    assert bias.first_wins > 0.6
    assert bias.n_verdicts == 2400


@pytest.mark.slow
def test_intervals_cover() -> None:
    inside = 0
    for seed in range(100):
        bias = measured(verdicts(60, length=0.8, position=0.0, seed=seed))
        inside += bias.position_ci95[0] < 0.0 < bias.position_ci95[1]
    assert 88 <= inside <= 100


def test_without_bias_nothing_is_taken_out() -> None:
    bias = measured(verdicts(400, length=0.0, position=0.0))
    assert bias.length_ci95[0] < 0 < bias.length_ci95[1]
    assert bias.without_length("good", -500, 1.0) == pytest.approx(1.0, abs=0.03)


def test_length_is_taken_out_of_the_means() -> None:
    given = verdicts(800, length=1.5, position=0.0)
    bias = measured(given)
    for model, strength in STRENGTHS.items():
        own = [one for one in given if one.model == model]
        raw = statistics.fmean(one.value for one in own)
        plain = statistics.fmean(bias.without_length(model, one.longer, one.value) for one in own)
        truth = 0.5 * (1 + math.tanh(strength / 2))
        assert abs(plain - truth) < 0.035
        if model != "even":
            assert abs(raw - truth) > 0.1


def test_scores_stay_scores() -> None:
    bias = measured(verdicts(50, length=3.0, position=0.0))
    for model in STRENGTHS:
        for longer in (-5000, 0, 5000):
            for score in (0.0, 0.25, 1.0):
                assert 0 <= bias.without_length(model, longer, score) <= 1


def test_few_and_equal_verdicts_are_no_fault() -> None:
    bias = measured([Verdict("p", "m", "judge", 0, True, 1.0)])
    assert bias.flips is None
    assert bias.without_length("m", 0, 1.0) == 1.0
    ties = measured([Verdict("p", "m", "judge", 0, first, 0.5) for first in (True, False)])
    assert ties.first_wins is None
    assert ties.flips == 0.0
