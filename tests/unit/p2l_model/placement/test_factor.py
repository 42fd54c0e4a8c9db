from __future__ import annotations

import numpy as np

from p2l_model.placement.factor import fit


def test_a_factor_is_found_through_noise_and_gaps() -> None:
    chance = np.random.default_rng(1)
    truth = chance.normal(size=200)
    loading = np.array([1.0, 0.8, 1.2, 0.9])
    cells = 5.0 + loading[:, None] * truth + 0.3 * chance.normal(size=(4, 200))
    cells[chance.random(cells.shape) < 0.4] = np.nan
    cells[0, np.isnan(cells).all(axis=0)] = 5.0
    scores, variances = fit(cells).scores(cells)
    assert np.corrcoef(scores, truth)[0, 1] > 0.94
    error = (scores - truth / truth.std()) / np.sqrt(variances)
    assert 0.7 < error.std() < 1.6
    few = (~np.isnan(cells)).sum(axis=0) == 1
    many = (~np.isnan(cells)).sum(axis=0) == 4
    assert variances[few].min() > variances[many].max()


def test_a_topic_of_noise_counts_for_little() -> None:
    chance = np.random.default_rng(2)
    truth = chance.normal(size=300)
    cells = np.stack([truth, truth + 0.2 * chance.normal(size=300), chance.normal(size=300)])
    found = fit(cells)
    assert abs(found.loading[2]) < 0.2
    assert found.noise[2] > 5 * found.noise[1]
