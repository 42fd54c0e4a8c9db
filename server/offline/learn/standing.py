"""Where the models of a run stand, and whose place is settled, so that nothing more need be bought.

A place is settled once the model's mean differs from every other model's, on the prompts that both
answered, by more than a confidence sequence: an interval that holds at all sample sizes at once, so
that looking after each prompt costs nothing (Waudby-Smith et al. 2021, arXiv 2103.06476, theorem
2.2, the asymptotic one).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from p2l_model.types import FloatArray

# Fewer common prompts than this settle nothing: the sequence is an asymptotic one.
MIN_PROMPTS: Final = 25
ALPHA: Final = 0.05
# The sample size at which the sequence is tightest.
_BEST_AT: Final = 60.0
_RESAMPLES: Final = 2_000
# A lower bound of the standard deviation of a difference: models that have agreed so far may differ
# on the next prompt.
_LEAST_SD: Final = 0.1


@dataclass(frozen=True, slots=True)
class Standing:
    """A model's grades of one source. score: the mean, with its 95% interval over prompts."""

    model: str
    n: int
    score: float
    ci95: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """The standing."""
        return {"n": self.n, "score": self.score, "ci95": list(self.ci95)}


def standing(model: str, scores: Sequence[float], seed: int = 0) -> Standing:
    """The mean of a model's scores, at least one. Its interval: percentiles of means of resampled
    prompts; with equal scores the bounds of Wilson's interval, since resamples are then equal."""
    values = np.asarray(scores, dtype=float)
    mean = float(values.mean())
    if float(values.min()) == float(values.max()):
        return Standing(model, values.size, mean, _wilson(mean, values.size))
    chance = np.random.default_rng(seed)
    drawn = chance.integers(0, values.size, (_RESAMPLES, values.size))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return Standing(model, values.size, mean, (float(low), float(high)))


def settled(scores: Mapping[str, Mapping[str, float]]) -> frozenset[str]:
    """The models whose place among all is settled. scores: by model, then by prompt."""
    models = sorted(scores)
    n_pairs = len(models) * (len(models) - 1) / 2
    if n_pairs == 0:
        return frozenset()
    open_ = {
        model
        for place, a in enumerate(models)
        for b in models[place + 1 :]
        if not _differ(scores[a], scores[b], ALPHA / n_pairs)
        for model in (a, b)
    }
    return frozenset(models) - open_


def _differ(a: Mapping[str, float], b: Mapping[str, float], alpha: float) -> bool:
    common = a.keys() & b.keys()
    if len(common) < MIN_PROMPTS:
        return False
    difference = np.array([a[prompt] - b[prompt] for prompt in sorted(common)])
    return abs(float(difference.mean())) > radius(difference, alpha)


def radius(values: FloatArray, alpha: float) -> float:
    """Half the width of the confidence sequence for the mean of N values (N,), at N."""
    n = values.size
    sd = max(float(values.std(ddof=1)), _LEAST_SD)
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / _BEST_AT
    scaled = n * rho2 + 1
    return sd * math.sqrt(2 * scaled / (n**2 * rho2) * math.log(math.sqrt(scaled) / alpha))


def _wilson(mean: float, n: int) -> tuple[float, float]:
    z2 = 1.959964**2
    middle = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2) / (1 + z2 / n) * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)
