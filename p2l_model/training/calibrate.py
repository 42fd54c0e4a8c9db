"""Calibrates on validation how far apart the models are, and how often they tie.

A temperature alone would also change the level of grounded coefficients, which is the chance that
an answer is good and is already well fitted. So the level of each prompt is kept, and raw eta is
shifted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from p2l_model.checkpoint.heads import HeadOutputs, Heads
from p2l_model.data.files import VoteTable
from p2l_model.evaluation.metrics import predict, source_mean
from p2l_model.preference import outcomes
from p2l_model.types import FloatArray, Outcome, PreferenceFamily

_TEMPERATURES: Final = np.exp(np.linspace(math.log(0.5), math.log(2.0), 81))
_SHIFTS: Final = np.linspace(-1.0, 1.0, 41)
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Calibration:
    """temperature: the divisor of the differences between models. eta_shift: added to raw eta; 0
    where the family has none."""

    temperature: float
    eta_shift: float


def fit_calibration(
    family: PreferenceFamily, heads: Heads, votes: VoteTable, features: FloatArray
) -> Calibration:
    """Finds the pair with the least loss. features (P, F): of the votes' prompts.

    The loss is that of all outcomes by source. Where the family has ties, the loss of who wins,
    given that one does, over all votes is added, because the first hardly notices a miscalibrated
    P(a beats b) where most votes are ties. Without ties in the family P(a beats b) counts them as
    halves, and decisive votes alone would push the models too far apart. Votes count by their
    weight.
    """
    outputs = heads.outputs(features, 1.0)
    best = Calibration(1.0, 0.0)
    for _ in range(_ROUNDS):
        tried = [Calibration(round(float(t), 4), best.eta_shift) for t in _TEMPERATURES]
        best = min(tried, key=lambda c: _objective(family, _applied(outputs, c), votes))
        if heads.has_eta:
            shifts = [Calibration(best.temperature, round(float(s), 4)) for s in _SHIFTS]
            best = min(shifts, key=lambda c: _objective(family, _applied(outputs, c), votes))
    return best


def calibrated(heads: Heads, calibration: Calibration) -> Heads:
    """Heads whose outputs are calibrated once they are divided by the temperature, as in
    serving."""
    keep = calibration.temperature - 1.0  # of the mean over models, so that it is unchanged
    return replace(
        heads,
        weight=heads.weight + keep * heads.weight.mean(axis=0),
        bias=heads.bias + keep * heads.bias.mean(),
        eta_bias=None if heads.eta_bias is None else heads.eta_bias + calibration.eta_shift,
    )


def _applied(outputs: HeadOutputs, calibration: Calibration) -> HeadOutputs:
    level = outputs.coefficients.mean(axis=1, keepdims=True)
    apart = (outputs.coefficients - level) / calibration.temperature
    return HeadOutputs(level + apart, outputs.eta + calibration.eta_shift, outputs.gamma)


def _objective(family: PreferenceFamily, outputs: HeadOutputs, votes: VoteTable) -> float:
    found = predict(family, votes, outputs)
    decisive = (found.outcome_a != 0.5) & (votes.weight > 0)
    y, p = found.outcome_a[decisive], np.clip(found.p_a[decisive], 1e-12, 1 - 1e-12)
    loss = source_mean(found.loss, votes)
    if y.size == 0 or Outcome.TIE not in outcomes(family):
        return loss
    likelihood = y * np.log(p) + (1 - y) * np.log1p(-p)
    return loss - float(np.average(likelihood, weights=votes.weight[decisive]))
