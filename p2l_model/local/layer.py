"""The layer itself: learns from one answer at a time, and predicts with its uncertainty.

Each component of the prior (`prior`) keeps a Gaussian over all numbers. An answer touches a few of
them; its likelihood is replaced by a Gaussian at the mode (assumed density filtering, as in Minka,
A family of algorithms for approximate Bayesian inference, 2001), which costs O(d^2). Components are
weighed by how well they foresaw the answers. A score between 0 and 1 says more than a coin: the
dispersion of scores, learnt on the way, divides its noise (quasi-likelihood; McCullagh and Nelder,
Generalized Linear Models, 1989, chapter 9).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.local import likelihood, prior
from p2l_model.local.likelihood import Verdict
from p2l_model.local.state import State, first_state
from p2l_model.local.terms import PromptTerms
from p2l_model.types import FloatArray, Outcome

_LEAST_VARIANCE: Final = 1e-9
_NOTHING: Final = PromptTerms()
_LEAST_DISPERSION: Final = 0.05
_MOST_SURPRISE: Final = 3.0
_LEAST_SPREAD: Final = 0.01
# Standard deviation of how far a changed model may be from what it was, in log-odds.
_CHANGED: Final = 1.0
HALF_LIFE_DAYS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """For M models: the mean and the standard deviation (M,) of their values in log-odds, and the
    probability (M,) that their answers are good, a mean over the posterior."""

    mean: FloatArray
    sd: FloatArray
    p_good: FloatArray


class LocalLayer:
    """Learns from graded answers and votes. state: to go on from, which it changes. towards: what
    it fades towards; None for the prior. log_evidence: the sum of the logarithms of how probable
    each answer was before it was learnt, up to a constant."""

    def __init__(self, state: State, towards: State | None = None) -> None:
        self.state = state
        self.log_evidence = 0.0
        self._towards = towards
        self._kept: tuple[int, FloatArray, FloatArray] | None = None

    @classmethod
    def start(
        cls,
        models: Sequence[str],
        mean: FloatArray,
        uncertain: FloatArray,
        n_axes: int = 0,
        parts: Sequence[prior.Component] | None = None,
    ) -> LocalLayer:
        """A layer without any answer. models: M names. mean (M,), uncertain (M, M): mean and
        covariance of their strengths. n_axes: of each model's head, as many as the prompts' terms
        have; 0 for no heads. parts: of the prior, None for the usual."""
        parts = prior.components(n_axes) if parts is None else parts
        layer = cls(first_state(float(mean.mean()) if len(models) else 0.0, parts))
        for at, name in enumerate(models):
            layer.join(name, float(mean[at]), uncertain[at, : at + 1], n_axes)
        return layer

    def join(self, name: str, mean: float, uncertain: FloatArray, n_axes: int = 0) -> None:
        """Adds a model, if it is not there. mean: of its strength. uncertain (M + 1,): covariance
        of its strength with those of the M models in their order, then its variance. n_axes: of its
        head."""
        self.state.join(name, mean, uncertain, n_axes)

    def apart(self, covariance: FloatArray) -> LocalLayer:
        """A layer for somebody whose values differ from those of this one by an unknown amount: it
        begins with what this one knows, and fades towards that. covariance (M, M): of the
        differences, for the models in their order."""
        state = copy.deepcopy(self.state)
        places = np.array([one.at for one in state.models.values()], dtype=np.int64)
        state.covariance[:, places[:, None], places[None, :]] += covariance
        return LocalLayer(state, towards=copy.deepcopy(state))

    def learn_grade(
        self, model: str, score: float, terms: PromptTerms = _NOTHING, source: str | None = None
    ) -> float:
        """Learns from a score in [0, 1], and returns how many standard deviations it lay above what
        was foreseen. source: the judge, None for the layer's own. Raises KeyError for a model that
        has not joined."""
        state = self.state
        at, factor = self._rows([model], terms, source).only()
        across = state.covariance[:, :, at] @ factor
        variance = np.maximum(across[:, at] @ factor, _LEAST_VARIANCE)
        mean = state.mean[:, at] @ factor
        dispersion, surprise = self._weigh(mean, variance, score)
        value, information = likelihood.grade(mean, variance, score, dispersion)
        state.mean += across * ((value - mean) / variance)[:, None]
        gain = information / (1.0 + information * variance)
        state.covariance -= (across * gain[:, None])[:, :, None] * across[:, None, :]
        state.count(model)
        return surprise

    def learn_vote(
        self,
        model_a: str,
        model_b: str,
        outcome: Outcome,
        eta: float = 0.0,
        terms: PromptTerms = _NOTHING,
        source: str | None = None,
    ) -> float:
        """Learns from one of the four outcomes of a vote, and returns how many standard deviations
        it lay above what was foreseen of model_a; of model_b it lay as far below. eta: the raw tie
        parameter. Raises KeyError for a model that has not joined."""
        verdict = Verdict.of(outcome, eta)
        pair = self._pair(model_a, model_b, terms, source)
        mean = self.weights @ pair.mean
        apart = pair.mean - mean
        spread = np.tensordot(self.weights, pair.spread, axes=1)
        spread += (apart * self.weights[:, None]).T @ apart
        found = likelihood.surprise(mean, spread, verdict)
        self._learn_pair(pair, verdict)
        self.state.count(model_a, model_b)
        return found

    def learn_verdict(
        self,
        model_a: str,
        model_b: str,
        verdict: Verdict,
        terms: PromptTerms = _NOTHING,
        source: str | None = None,
    ) -> None:
        """The same of a vote in any family, with soft targets and a weight."""
        self._learn_pair(self._pair(model_a, model_b, terms, source), verdict)
        self.state.count(model_a, model_b)

    def _pair(self, model_a: str, model_b: str, terms: PromptTerms, source: str | None) -> _Pair:
        rows = self._rows([model_a, model_b], terms, source)
        across = np.einsum("kdrn,rn->kdr", self.state.covariance[:, :, rows.at], rows.factor)
        spread = np.einsum("krns,rn->krs", across[:, rows.at], rows.factor)
        mean = np.einsum("kri,ri->kr", self.state.mean[:, rows.at], rows.factor)
        return _Pair(across, mean, spread)

    def _learn_pair(self, pair: _Pair, verdict: Verdict) -> None:
        across, spread = pair.across, pair.spread
        value, gradient, information = likelihood.vote(pair.mean, spread, verdict)
        self._credit(likelihood.evidence(value, gradient, information, spread, verdict))
        gain = np.linalg.solve(np.eye(2) + information @ spread, information)
        self.state.mean += (across @ gradient[:, :, None])[:, :, 0]
        self.state.covariance -= across @ gain @ np.swapaxes(across, 1, 2)

    def predict(
        self, models: Sequence[str], terms: PromptTerms = _NOTHING, source: str | None = None
    ) -> Prediction:
        """What the models' answers to a prompt are worth. source: the judge whose grades are meant.
        The mixture is taken for one Gaussian of the same mean and covariance. Raises KeyError for a
        model that has not joined."""
        known = source if source in self.state.source_at else None
        rows = self._rows(models, terms, known)
        mean, covariance = self.collapsed()
        value = np.einsum("ri,ri->r", mean[rows.at], rows.factor)
        taken = covariance[rows.at[:, :, None], rows.at[:, None, :]]
        variance = np.maximum(np.einsum("rij,ri,rj->r", taken, rows.factor, rows.factor), 0.0)
        return Prediction(value, np.sqrt(variance), mean_chance(value, variance))

    def head(self, model: str) -> tuple[FloatArray, FloatArray]:
        """Mean (n,) and covariance (n, n) of a model's head. Raises KeyError for a model that has
        not joined."""
        mean, covariance = self.collapsed()
        own = self.state.models[model].head
        return mean[own], covariance[own, own]

    def loosen(self, model: str) -> None:
        """Makes the model's own effect uncertain again, since it has changed under its name. Raises
        KeyError for a model that has not joined."""
        at = self.state.models[model].at
        self.state.covariance[:, at, at] += _CHANGED**2
        self.state.version += 1

    def forget(self, days: float, half_life_days: float = HALF_LIFE_DAYS) -> None:
        """Lets what was learnt fade: after a half-life an answer counts for half."""
        self.state.fade(0.5 ** (days / half_life_days), self._towards)

    @property
    def weights(self) -> FloatArray:
        """How much each component of the prior counts (K,), sum 1."""
        odds = np.exp(self.state.log_weights - self.state.log_weights.max())
        shares: FloatArray = odds / odds.sum()
        return shares

    def _rows(self, models: Sequence[str], terms: PromptTerms, source: str | None) -> _Rows:
        state = self.state
        extra = [] if source is None else state.source(source)
        n_shared, members = prior.N_SHARED, [state.models[name] for name in models]
        n_axes = max((one.n_axes for one in members), default=0)
        first = n_shared + 1 + len(extra)
        # A model without a head reads the level instead, with the factor 0.
        at = np.zeros((len(models), first + n_axes), dtype=np.int64)
        factor = np.zeros(at.shape)
        at[:, :n_shared] = np.arange(n_shared)
        factor[:, prior.LEVEL], factor[:, prior.DIFFICULTY] = 1.0, terms.difficulty
        for row, (name, place) in enumerate(zip(models, members, strict=True)):
            at[row, n_shared] = place.at
            n = min(place.n_axes, terms.axes.size)
            at[row, first : first + n] = np.arange(place.at + 1, place.at + 1 + n)
            factor[row, first : first + n] = terms.axes[:n]
            factor[row, prior.SLOPE] = place.strength - state.centre
            factor[row, prior.DEVIATION] = terms.deviation.get(name, 0.0)
        factor[:, n_shared] = 1.0
        if extra:
            at[:, n_shared + 1 : first] = extra
            factor[:, n_shared + 1], factor[:, n_shared + 2] = 1.0, factor[:, prior.SLOPE]
        return _Rows(at, factor)

    def collapsed(self) -> tuple[FloatArray, FloatArray]:
        """Mean (d,) and covariance (d, d) of all numbers: the mixture taken for one Gaussian. Kept
        until something is learnt."""
        state = self.state
        if self._kept is None or self._kept[0] != state.version:
            weights = self.weights
            mean = weights @ state.mean
            apart = state.mean - mean
            within = np.tensordot(weights, state.covariance, axes=1)
            self._kept = state.version, mean, within + (apart * weights[:, None]).T @ apart
        return self._kept[1], self._kept[2]

    def _weigh(self, mean: FloatArray, variance: FloatArray, score: float) -> tuple[float, float]:
        """Weighs the components by a score, and returns the dispersion with which it counts, and
        how far it lies from what was foreseen, in standard deviations."""
        state = self.state
        chance = mean_chance(mean, variance)
        whole = float(self.weights @ chance)
        surprise = (score - whole) ** 2 / max(whole * (1 - whole), 0.02)
        state.dispersion += np.array([min(surprise, _MOST_SURPRISE), 1.0])
        dispersion = max(float(state.dispersion[0] / state.dispersion[1]), _LEAST_DISPERSION)
        coin = np.maximum(chance * (1 - chance), _LEAST_SPREAD)
        expected = dispersion * coin + variance * coin**2
        self._credit(-0.5 * (np.log(expected) + (score - chance) ** 2 / expected))
        return dispersion, math.copysign(math.sqrt(surprise / dispersion), score - whole)

    def _credit(self, evidence: FloatArray) -> None:
        """Weighs the components by how probable an answer was for each. evidence (K,): in natural
        logarithms."""
        state = self.state
        before = float(np.logaddexp.reduce(state.log_weights))
        state.log_weights += evidence
        self.log_evidence += float(np.logaddexp.reduce(state.log_weights)) - before
        state.log_weights -= state.log_weights.max()


@dataclass(frozen=True, slots=True)
class _Rows:
    """Which numbers (r, n) the values of r models touch, and their factors (r, n)."""

    at: np.typing.NDArray[np.int64]
    factor: FloatArray

    def only(self) -> tuple[np.typing.NDArray[np.int64], FloatArray]:
        """Those of one model."""
        return self.at[0], self.factor[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """What each of K components believes of two values. across (K, d, 2): their covariance with all
    numbers; mean (K, 2), spread (K, 2, 2): their own."""

    across: FloatArray
    mean: FloatArray
    spread: FloatArray


def mean_chance(mean: FloatArray, variance: FloatArray) -> FloatArray:
    """The mean of a sigmoid over a Gaussian (MacKay, The evidence framework applied to
    classification networks, 1992): exact to 0.01 where the deviation is below 3."""
    chance: FloatArray = 1.0 / (1.0 + np.exp(-mean / np.sqrt(1.0 + math.pi * variance / 8.0)))
    return chance
