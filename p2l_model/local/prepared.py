"""A layer's predictions for one list of models, prepared so that a request costs microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from p2l_model.local import prior
from p2l_model.local.layer import LocalLayer
from p2l_model.types import FloatArray

# What a value is made of: a constant, difficulty, deviation, then the axes of the prompt.
_DIFFICULTY, _DEVIATION, _AXES = range(1, 4)
_NO_AXES: Final = np.zeros(0)


class Prepared:
    """The values of M models for any prompt, as `LocalLayer.predict` gives them.

    A value is linear in the prompt's difficulty and axes and in the model's deviation, so its mean
    and its variance are polynomials of these. is_relative: the values less their mean over the
    models, in which the level and the difficulty, which all models share, cancel; what is uncertain
    about these then does not count. models: that have joined the layer. Raises KeyError for another
    one.
    """

    def __init__(self, layer: LocalLayer, models: Sequence[str], *, is_relative: bool) -> None:
        mean, covariance = layer.collapsed()
        members = [layer.state.models[name] for name in models]
        self._n_axes = max((one.n_axes for one in members), default=0)
        factor = np.zeros((len(models), _AXES + self._n_axes, mean.size))
        factor[:, 0, prior.LEVEL] = factor[:, _DIFFICULTY, prior.DIFFICULTY] = 1.0
        for row, one in zip(factor, members, strict=True):
            row[0, prior.SLOPE] = one.strength - layer.state.centre
            row[0, one.at] = 1.0
            row[_AXES : _AXES + one.n_axes, one.head] = np.eye(one.n_axes)
        if is_relative:
            factor -= factor.mean(axis=0)
        # Deviations come less their own mean.
        factor[:, _DEVIATION, prior.DEVIATION] = 1.0
        self._is_relative = is_relative
        self._mean = factor @ mean
        self._covariance = factor @ covariance @ np.swapaxes(factor, 1, 2)

    def at(
        self, difficulty: float, deviation: FloatArray, axes: FloatArray = _NO_AXES
    ) -> tuple[FloatArray, FloatArray]:
        """Means (M,) and standard deviations (M,) for a prompt, in log-odds. difficulty, deviation
        (M,), axes (A,): of the prompt (`terms.PromptTerms`)."""
        parts = np.zeros(self._mean.shape)
        parts[:, 0], parts[:, _DIFFICULTY], parts[:, _DEVIATION] = 1.0, difficulty, deviation
        if self._is_relative:
            parts[:, _DEVIATION] -= deviation.sum() / deviation.size
        parts[:, _AXES : _AXES + axes.size] = axes
        across = (parts[:, None, :] @ self._covariance)[:, 0, :]
        variance = np.add.reduce(across * parts, axis=1)
        return np.add.reduce(self._mean * parts, axis=1), np.sqrt(np.maximum(variance, 0.0))
