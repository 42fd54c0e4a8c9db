"""Ridge on many columns: exact leave-one-out predictions, whoever answered what."""

from __future__ import annotations

import numpy as np
import pytest

from p2l_model.fitting.ridge import fit_ridge, lacking


def test_what_is_left_out_is_what_a_fit_without_it_predicts() -> None:
    chance = np.random.default_rng(0)
    x = chance.normal(size=(40, 3)) * [1.0, 10.0, 0.1] + [5.0, 0.0, 0.0]
    y = x @ [[1.0, 0.0], [0.2, -0.1], [0.0, 3.0]] + chance.normal(size=(40, 2))
    y[::4, 1] = np.nan
    fit = fit_ridge(x, y)
    assert np.isnan(fit.left_out).tolist() == np.isnan(y).tolist()
    # the penalty hardly matters here, so least squares by hand is about the same
    without = np.delete(np.arange(40), 7)
    design = np.column_stack([x, np.ones(40)])
    weights, *_ = np.linalg.lstsq(design[without], y[without, 0], rcond=None)
    assert fit.left_out[7, 0] == pytest.approx(design[7] @ weights, abs=0.05)
    fitted = x @ fit.weight.T + fit.bias
    known = ~np.isnan(y)
    assert ((y - fitted)[known] ** 2).mean() < ((y - fit.left_out)[known] ** 2).mean()


def test_noise_is_not_learnt() -> None:
    chance = np.random.default_rng(0)
    x, y = chance.normal(size=(60, 50)), chance.normal(size=(60, 1)) + 3.0
    fit = fit_ridge(x, y)
    assert np.abs(fit.weight).max() < 0.05
    assert fit.bias == pytest.approx(y.mean(), abs=0.2)


def test_a_column_without_values_is_zero() -> None:
    y = np.full((20, 2), np.nan)
    y[:, 0] = 2.0
    fit = fit_ridge(np.arange(20.0)[:, None], y)
    assert fit.weight[1] == 0
    assert fit.bias.tolist() == pytest.approx([2.0, 0.0])


def test_the_mean_is_more_than_the_exponential_of_the_mean_logarithm() -> None:
    y = np.log([[1.0, 2.0], [9.0, np.nan]])
    assert lacking(y, np.log([[3.0, 2.0], [3.0, 5.0]])) == pytest.approx([10 / 6, 1.0])
