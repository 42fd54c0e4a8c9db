"""A layer's predictions for one list of models, prepared so that a request costs microseconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from p2l_model.local import prior
from p2l_model.local.layer import LocalLayer
from p2l_model.types import FloatArray


class Prepared:
    """The values of M models for any prompt, as `LocalLayer.predict` gives them, but for the axes.

    A value is linear in the prompt's difficulty and in the model's deviation, so its mean and its
    variance are polynomials of these two. is_relative: the values less their mean over the models,
    in which the level and the difficulty, which all models share, cancel; what is uncertain about
    these then does not count. models: that have joined the layer. Raises KeyError for another one.
    """

    def __init__(self, layer: LocalLayer, models: Sequence[str], *, is_relative: bool) -> None:
        mean, covariance = layer.collapsed()
        state = layer.state
        factor = np.zeros((len(models), mean.size))
        factor[:, prior.LEVEL] = 1.0
        for row, name in enumerate(models):
            factor[row, prior.SLOPE] = state.models[name].strength - state.centre
            factor[row, state.models[name].at] = 1.0
        if is_relative:
            factor -= factor.mean(axis=0)
        across = factor @ covariance
        b, c = prior.DIFFICULTY, prior.DEVIATION
        self._is_relative = is_relative
        self._mean, self._variance = factor @ mean, np.sum(across * factor, axis=1)
        self._b, self._c = float(mean[b]), float(mean[c])
        self._with_b, self._with_c = 2.0 * across[:, b], 2.0 * across[:, c]
        self._bb, self._cc = float(covariance[b, b]), float(covariance[c, c])
        self._bc = 2.0 * float(covariance[b, c])

    def at(self, difficulty: float, deviation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Means (M,) and standard deviations (M,) for a prompt, in log-odds. difficulty, deviation
        (M,): of the prompt (`terms.PromptTerms`)."""
        d, apart = difficulty, deviation
        if self._is_relative:
            d, apart = 0.0, deviation - deviation.sum() / deviation.size
        mean = self._mean + (d * self._b) + self._c * apart
        variance = self._variance + apart * (self._with_c + self._cc * apart + d * self._bc)
        variance += d * (self._with_b + d * self._bb)
        return mean, np.sqrt(np.maximum(variance, 0.0))
