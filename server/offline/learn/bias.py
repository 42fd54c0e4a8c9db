"""How much verdicts depend on the length of an answer and on the place where it is shown, and what
they would be without that.

One logistic regression over all verdicts, as in length-controlled AlpacaEval (Dubois et al. 2024,
arXiv 2404.04475, equation 1), with the position beside the length:

    logit P(model m is preferred) = theta_m + phi tanh(d / s) + pi o

d: how many characters the answer is longer than the reference, s: the standard deviation of d,
o: 1 where the answer was shown first and -1 where second. A tie is half a win. Intervals are of 95%
and robust against verdicts on one prompt being alike (clustered sandwich, Liang and Zeger 1986).
Without a bias, phi = pi = 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from p2l_model.types import FloatArray

_STEPS: Final = 50
_PRECISE: Final = 1e-9
# Standard deviations of the prior of each coefficient: wide for models, narrower for the biases.
_MODEL_SD: Final = 3.0
_BIAS_SD: Final = 1.0
_Z95: Final = 1.959964
# A mean of 0 or 1 is taken for one this far inside.
_EDGE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's verdict on an answer against the reference. longer: characters that the answer is
    longer by. first: whether it was shown first. value: 1 for a win, 0.5, or 0 for a loss."""

    prompt: str
    model: str
    judge: str
    longer: int
    first: bool
    value: float


@dataclass(frozen=True, slots=True)
class Bias:
    """The biases of one judge. length, position: phi and pi, each with its interval. first_wins:
    the share of decisive verdicts for the answer shown first. flips: the share of pairs, judged in
    both orders, whose winner changed with the order. scale: s, in characters. strengths: theta by
    model, with its standard deviation."""

    judge: str
    n_verdicts: int
    length: float
    length_ci95: tuple[float, float]
    position: float
    position_ci95: tuple[float, float]
    first_wins: float | None
    flips: float | None
    scale: float
    strengths: Mapping[str, tuple[float, float]]

    def without_length(self, model: str, longer: int, score: float) -> float:
        """A score against the reference as it would be at equal lengths. A model's mean moves from
        the fitted mean with the length to the one without; every score stays within [0, 1]."""
        theta, _ = self.strengths[model]
        plain = _logistic(theta)
        fitted = _logistic(theta + self.length * np.tanh(longer / self.scale))
        if fitted >= plain:
            return float(score * plain / fitted)
        return float(1.0 - (1.0 - score) * (1.0 - plain) / (1.0 - fitted))

    def interval(self, model: str, score: float) -> tuple[float, float]:
        """The 95% interval of a model's mean score at equal lengths: that of theta, around it. It
        holds what is uncertain about the bias of length too."""
        _, sd = self.strengths[model]
        inside = min(max(score, _EDGE), 1.0 - _EDGE)
        low, high = _interval(math.log(inside / (1.0 - inside)), sd)
        return float(_logistic(low)), float(_logistic(high))

    def to_json(self) -> dict[str, Any]:
        """The measured biases."""
        return {
            "judge": self.judge,
            "n_verdicts": self.n_verdicts,
            "length": self.length,
            "length_ci95": list(self.length_ci95),
            "position": self.position,
            "position_ci95": list(self.position_ci95),
            "first_wins": self.first_wins,
            "flips": self.flips,
        }


def measured(verdicts: Sequence[Verdict]) -> Bias:
    """The biases in all verdicts of one judge, of which there must be at least one."""
    models = sorted({one.model for one in verdicts})
    at = {model: index for index, model in enumerate(models)}
    longer = np.array([one.longer for one in verdicts], dtype=float)
    scale = float(longer.std()) or 1.0
    n_models = len(models)
    design = np.zeros((len(verdicts), n_models + 2))
    design[np.arange(len(verdicts)), [at[one.model] for one in verdicts]] = 1.0
    design[:, n_models] = np.tanh(longer / scale)
    design[:, n_models + 1] = [1.0 if one.first else -1.0 for one in verdicts]
    wins = np.array([one.value for one in verdicts])
    prior = np.array([_MODEL_SD**-2] * n_models + [_BIAS_SD**-2] * 2)
    found, sd = _fitted(design, wins, prior, [one.prompt for one in verdicts])
    length, position = float(found[n_models]), float(found[n_models + 1])
    return Bias(
        judge=verdicts[0].judge,
        n_verdicts=len(verdicts),
        length=length,
        length_ci95=_interval(length, float(sd[n_models])),
        position=position,
        position_ci95=_interval(position, float(sd[n_models + 1])),
        first_wins=_first_wins(verdicts),
        flips=_flips(verdicts),
        scale=scale,
        strengths={m: (float(found[at[m]]), float(sd[at[m]])) for m in models},
    )


def _fitted(
    design: FloatArray, wins: FloatArray, prior: FloatArray, groups: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """Newton's method; returns (coefficients, their standard deviations)."""
    found = np.zeros(design.shape[1])
    hessian = np.diag(prior)
    for _ in range(_STEPS):
        mean = _logistic(design @ found)
        gradient = design.T @ (wins - mean) - prior * found
        hessian = (design.T * (mean * (1 - mean))) @ design + np.diag(prior)
        step = np.linalg.solve(hessian, gradient)
        found = found + step
        if float(np.abs(step).max()) < _PRECISE:
            break
    residual = design * (wins - _logistic(design @ found))[:, None]
    index = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    summed = np.zeros((len(index), design.shape[1]))
    np.add.at(summed, [index[group] for group in groups], residual)
    inverse = np.linalg.inv(hessian)
    # For few prompts, as in Stata and R.
    n, p, n_groups = design.shape[0], design.shape[1], max(2, len(index))
    few = n_groups / (n_groups - 1) * (n - 1) / max(1, n - p)
    covariance = few * inverse @ (summed.T @ summed) @ inverse
    return found, np.sqrt(np.diag(covariance))


def _interval(value: float, sd: float) -> tuple[float, float]:
    return value - _Z95 * sd, value + _Z95 * sd


def _first_wins(verdicts: Sequence[Verdict]) -> float | None:
    decisive = [one for one in verdicts if one.value != 0.5]
    if not decisive:
        return None
    return sum((one.value > 0.5) == one.first for one in decisive) / len(decisive)


def _flips(verdicts: Sequence[Verdict]) -> float | None:
    pairs: dict[tuple[str, str], dict[bool, float]] = {}
    for one in verdicts:
        pairs.setdefault((one.prompt, one.model), {})[one.first] = one.value
    both = [pair for pair in pairs.values() if len(pair) == 2]
    if not both:
        return None
    return sum({pair[True], pair[False]} == {0.0, 1.0} for pair in both) / len(both)


def _logistic(x: FloatArray | float) -> Any:
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x)))
