"""Calibration: heads that are too sure, or tie too often, are put right, their level untouched."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.evaluation.metrics import predict, summary
from p2l_model.preference import log_probabilities
from p2l_model.training.calibrate import Calibration, calibrated, fit_calibration
from p2l_model.types import Conversation, FloatArray, PreferenceFamily

N_PROMPTS, N_MODELS, WIDTH = 400, 6, 4


def truth(family: PreferenceFamily) -> tuple[Heads, FloatArray]:
    chance = np.random.default_rng(0)
    grounded = family is PreferenceFamily.GRK
    heads = Heads(
        chance.normal(size=(N_MODELS, WIDTH)),
        chance.normal(size=N_MODELS) + (0.5 if grounded else 0.0),
        0.1 * chance.normal(size=WIDTH) if grounded else None,
        0.2 if grounded else None,
    )
    return heads, chance.normal(size=(N_PROMPTS, WIDTH))


def drawn(family: PreferenceFamily, heads: Heads, features: FloatArray) -> VoteTable:
    """Votes as the heads say they fall."""
    chance = np.random.default_rng(1)
    prompt = np.repeat(np.arange(N_PROMPTS), 30)
    a = chance.integers(N_MODELS, size=prompt.size)
    b = (a + chance.integers(1, N_MODELS, size=prompt.size)) % N_MODELS
    outputs = heads.outputs(features, 1.0)
    logs = log_probabilities(
        family, outputs.coefficients[prompt, a], outputs.coefficients[prompt, b],
        outputs.eta[prompt],
    )  # fmt: skip
    outcome = (chance.random((prompt.size, 1)) > np.exp(logs).cumsum(axis=1)).sum(axis=1)
    empty = np.full(prompt.size, np.nan)
    text = np.full(prompt.size, "s")
    return VoteTable(
        tuple(Conversation((str(i),)) for i in range(N_PROMPTS)),
        tuple("abcdef"), prompt, a, b, np.minimum(outcome, logs.shape[1] - 1), empty,
        np.ones(prompt.size), text, text, *[empty] * 4,
    )  # fmt: skip


def distorted(heads: Heads, factor: float, shift: float) -> Heads:
    """Differences between models times factor, eta shifted."""
    level, middle = heads.weight.mean(axis=0), heads.bias.mean()
    return replace(
        heads,
        weight=level + factor * (heads.weight - level),
        bias=middle + factor * (heads.bias - middle),
        eta_bias=None if heads.eta_bias is None else heads.eta_bias + shift,
    )


@functools.cache
def fitted(family: PreferenceFamily, factor: float) -> tuple[VoteTable, Heads, Calibration]:
    """The votes, heads that are wrong by this factor, and what is found of it."""
    heads, features = truth(family)
    votes = drawn(family, heads, features)
    wrong = distorted(heads, factor, 0.4)
    return votes, wrong, fit_calibration(family, wrong, votes, features)


BT, GRK = PreferenceFamily.BT, PreferenceFamily.GRK


@pytest.mark.parametrize(
    ("family", "factor"),
    [
        (BT, 0.7),
        *(pytest.param(*one, marks=pytest.mark.slow)
          for one in ((BT, 1.0), (BT, 1.6), (GRK, 0.7), (GRK, 1.0), (GRK, 1.6))),
    ],
)  # fmt: skip
def test_it_finds_what_was_done_to_the_heads(family: PreferenceFamily, factor: float) -> None:
    heads, features = truth(family)
    votes, wrong, found = fitted(family, factor)
    assert found.temperature == pytest.approx(factor, rel=0.06)
    if family is PreferenceFamily.GRK:
        assert found.eta_shift == pytest.approx(-0.4, abs=0.1)
    fixed = calibrated(wrong, found)
    right = predict(family, votes, fixed.outputs(features, found.temperature))
    before = predict(family, votes, wrong.outputs(features, 1.0))
    best = predict(family, votes, heads.outputs(features, 1.0))
    assert right.loss.mean() == pytest.approx(best.loss.mean(), abs=2e-3)
    if factor != 1.0:
        assert summary(right, votes.weight)["ece"] < summary(before, votes.weight)["ece"]


@pytest.mark.slow
def test_the_level_is_kept() -> None:
    _, features = truth(GRK)
    _, wrong, found = fitted(GRK, 1.6)
    served = calibrated(wrong, found).outputs(features, found.temperature).coefficients
    raw = wrong.outputs(features, 1.0).coefficients
    assert np.allclose(served.mean(axis=1), raw.mean(axis=1))


@pytest.mark.parametrize(
    "family",
    [pytest.param(PreferenceFamily.BT, marks=pytest.mark.slow), PreferenceFamily.BT_TIE],
)
def test_ties_as_halves_are_part_of_what_is_calibrated(family: PreferenceFamily) -> None:
    """Half the votes become ties: coefficients of less than half the size fit them best, though
    the decisive ones alone would have the whole."""
    heads, features = truth(family)
    votes = drawn(family, heads, features)
    outcome = np.where(np.random.default_rng(2).random(len(votes)) < 0.5, 2, votes.outcome)
    tied = replace(votes, outcome=outcome)
    found = fit_calibration(family, heads, tied, features)
    served = calibrated(heads, found).outputs(features, found.temperature)
    before = predict(family, tied, heads.outputs(features, 1.0)).loss.mean()
    assert found.temperature > 1.5
    assert predict(family, tied, served).loss.mean() < before
