from __future__ import annotations

import numpy as np

from p2l_model.analysis.users import shrunk

M = 5


def test_shrinkage_is_estimated() -> None:
    """Against the truth: better than the raw and than the population's, at every spread."""
    chance = np.random.default_rng(0)
    for spread in (0.0, 0.3, 1.0):
        truth = spread * chance.normal(size=(200, M))
        n = chance.integers(2, 30, size=200)
        noise = 1.0 / n[:, None] * np.ones(M)
        raw = truth + np.sqrt(noise) * chance.normal(size=(200, M))
        names = [str(i) for i in range(200)]
        own, between = shrunk(
            dict(zip(names, raw, strict=True)), dict(zip(names, noise, strict=True)), np.zeros(M)
        )
        error = np.mean((np.array([own[name] for name in names]) - truth) ** 2)
        assert error < 0.9 * np.mean((raw - truth) ** 2)
        assert error <= np.mean(truth**2) + 0.01
        assert np.abs(np.sqrt(between) - spread).max() < 0.15
