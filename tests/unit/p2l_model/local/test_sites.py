from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local.layer import LocalLayer
from p2l_model.local.sites import Sites, foreseen
from p2l_model.local.terms import PromptTerms
from p2l_model.types import FloatArray, Outcome

NAMES = ("a", "b", "c")
OUTCOMES = tuple(Outcome)


def learnt(out: set[int], n: int = 40, *, fades: bool = True) -> LocalLayer:
    """Grades of two sources and votes, all but some, with heads; in between what was learnt fades,
    and a model changes."""
    chance = np.random.default_rng(2)
    layer = LocalLayer.start(NAMES, np.array([0.5, 0.0, -0.5]), 0.4 * np.eye(3) + 0.1, 2)
    layer.sites = Sites()
    for k in range(n):
        terms = PromptTerms(float(chance.normal()), {"a": 0.4}, chance.normal(size=2))
        a, b = chance.permutation(NAMES)[:2].tolist()
        score, outcome = float(chance.random() < 0.7), OUTCOMES[int(chance.integers(4))]
        if k in out:
            continue
        if fades and k in (10, 25):
            layer.forget(20.0)
        if fades and k == 20:
            layer.loosen("b")
        if k % 2:
            layer.learn_vote(a, b, outcome, 0.2, terms)
        else:
            layer.learn_grade(a, score, terms, None if k % 3 else "judge", weight=0.9)
    return layer


def numbers(layer: LocalLayer) -> FloatArray:
    blocks = layer.state.blocks
    return np.concatenate([x.ravel() for one in blocks for x in (one.mean, one.covariance)])


@pytest.mark.parametrize("fades", [False, True])
def test_without_the_latest_answers_a_layer_is_what_it_was(fades: bool) -> None:
    """The earlier ones' sites do not depend on these."""
    found = learnt(set(), fades=fades).without(range(30, 40))
    expected = learnt(set(), 30, fades=fades)
    assert numbers(found) == pytest.approx(numbers(expected), abs=1e-9)
    assert found.state.dispersion == pytest.approx(expected.state.dispersion)
    assert found.state.n_answers == 30
    assert found.state.models == expected.state.models
    if not fades:
        assert found.weights == pytest.approx(expected.weights, abs=1e-9)


@pytest.mark.parametrize("out", [{3}, {5, 12, 21, 33}])
def test_without_some_answers_a_layer_is_near_one_that_never_heard_them(out: set[int]) -> None:
    whole = learnt(set())
    found, expected = whole.without(out).predict(NAMES), learnt(out).predict(NAMES)
    assert found.mean == pytest.approx(expected.mean, abs=0.04)
    assert found.sd == pytest.approx(expected.sd, abs=0.03)
    assert np.abs(whole.predict(NAMES).mean - expected.mean).max() > 0.04


def test_without_none_it_is_the_same_and_changes_by_itself() -> None:
    layer = learnt(set())
    before = layer.state.to_bytes()
    other = layer.without([])
    assert other.state.to_bytes() == before
    other.learn_grade("a", 1.0)
    layer.without([1, 2]).learn_grade("a", 1.0)
    assert layer.state.to_bytes() == before


def test_without_all_it_is_the_prior() -> None:
    found = learnt(set(), fades=False).without(range(40))
    assert numbers(found) == pytest.approx(numbers(LocalLayer(found.state.first())), abs=1e-9)
    assert found.weights == pytest.approx(np.full(18, 1 / 18), abs=1e-9)
    assert found.state.n_answers == 0


def test_what_has_faded_to_nothing_can_be_left_out() -> None:
    layer = learnt(set(), fades=False)
    layer.forget(days=3_000.0, half_life_days=1.0)
    found = layer.without([0, 1]).predict(NAMES)
    assert found.mean == pytest.approx(layer.predict(NAMES).mean, abs=1e-9)


def test_a_layer_that_keeps_nothing_can_leave_nothing_out() -> None:
    layer = LocalLayer.start(NAMES, np.zeros(3), np.eye(3))
    with pytest.raises(RuntimeError, match="not kept"):
        layer.without([0])


def test_what_is_foreseen_is_a_mean_over_what_is_believed() -> None:
    mean, spread = np.array([[0.3, -0.2]]), np.array([[[0.5, 0.1], [0.1, 0.3]]])
    precision, linear = np.array([[[0.8, -0.2], [-0.2, 0.4]]]), np.array([[0.5, -0.7]])
    drawn = np.random.default_rng(0).multivariate_normal(mean[0], spread[0], 400_000)
    told = drawn @ linear[0] - 0.5 * np.einsum("ni,ij,nj->n", drawn, precision[0], drawn)
    found = foreseen(mean, spread, precision, linear)[0]
    assert found == pytest.approx(np.log(np.exp(told).mean()), abs=0.005)
