from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local.layer import LocalLayer
from p2l_model.local.prepared import Prepared
from p2l_model.local.terms import PromptTerms

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def layer() -> LocalLayer:
    """One that has learnt from grades of two sources on hard and easy prompts."""
    chance = np.random.default_rng(1)
    made = LocalLayer.start(NAMES, np.array([1.0, 0.3, -0.2, -1.0]), 0.3 * np.eye(4))
    for n in range(120):
        name = NAMES[n % 4]
        terms = PromptTerms(float(chance.normal()), {name: float(chance.normal())})
        made.learn_grade(name, float(chance.random() < 0.6), terms, "judge" if n % 3 else None)
    return made


@pytest.mark.parametrize("difficulty", [0.0, -1.3])
def test_a_prepared_layer_predicts_what_the_layer_does(
    layer: LocalLayer, difficulty: float
) -> None:
    deviation = np.array([0.4, -0.2, 0.0, 0.9])
    terms = PromptTerms(difficulty, dict(zip(NAMES, deviation.tolist(), strict=True)))
    expected = layer.predict(NAMES, terms)
    mean, sd = Prepared(layer, NAMES, is_relative=False).at(difficulty, deviation)
    assert mean == pytest.approx(expected.mean, abs=1e-12)
    assert sd == pytest.approx(expected.sd, abs=1e-9)


@pytest.mark.parametrize("is_relative", [False, True])
def test_heads_of_models_count(is_relative: bool) -> None:
    chance = np.random.default_rng(3)
    layer = LocalLayer.start(NAMES, np.array([1.0, 0.3, -0.2, -1.0]), 0.3 * np.eye(4), 2)
    for n in range(200):
        axes = chance.normal(size=2)
        good = float(chance.random() < 0.5 + 0.4 * np.tanh(axes[0] * (1 if n % 4 == 0 else -1)))
        layer.learn_grade(NAMES[n % 4], good, PromptTerms(axes=axes))
    deviation, axes = np.array([0.4, -0.2, 0.0, 0.9]), np.array([1.2, -0.7])
    terms = PromptTerms(0.3, dict(zip(NAMES, deviation.tolist(), strict=True)), axes)
    expected = layer.predict(NAMES, terms)
    mean, sd = Prepared(layer, NAMES, is_relative=is_relative).at(0.3, deviation, axes)
    if is_relative:
        assert mean == pytest.approx(expected.mean - expected.mean.mean(), abs=1e-12)
    else:
        assert mean == pytest.approx(expected.mean, abs=1e-12)
        assert sd == pytest.approx(expected.sd, abs=1e-9)
    plain = Prepared(layer, NAMES, is_relative=is_relative).at(0.3, deviation)
    assert np.argmax(mean - plain[0]) == 0, "the first is good where the others are not"
    assert np.all(sd > 0)


def test_relative_values_leave_out_what_all_models_share(layer: LocalLayer) -> None:
    deviation = np.array([0.4, -0.2, 0.0, 0.9])
    whole, whole_sd = Prepared(layer, NAMES, is_relative=False).at(-1.3, deviation)
    relative = Prepared(layer, NAMES, is_relative=True)
    mean, sd = relative.at(-1.3, deviation)
    assert mean == pytest.approx(whole - whole.mean(), abs=1e-12)
    assert np.all(sd < whole_sd)
    assert relative.at(2.0, deviation)[0] == pytest.approx(mean, abs=1e-12)
    # The same from draws of all numbers.
    numbers, covariance = layer.collapsed()
    drawn = np.random.default_rng(2).multivariate_normal(numbers, covariance, 100_000)
    state = layer.state
    values = np.stack([
        drawn[:, 0]
        + drawn[:, 1] * (state.models[name].strength - state.centre)
        + drawn[:, 3] * deviation[m]
        + drawn[:, state.models[name].at]
        for m, name in enumerate(NAMES)
    ])  # fmt: skip
    apart = values - values.mean(axis=0)
    assert mean == pytest.approx(apart.mean(axis=1), abs=0.01)
    assert sd == pytest.approx(apart.std(axis=1), rel=0.03)
