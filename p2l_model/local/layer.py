"""The layer itself: learns from one answer at a time, and predicts with its uncertainty.

Each component of the prior (`prior`) keeps a Gaussian over all numbers. An answer touches a few of
them; its likelihood is replaced by a Gaussian at the mode (assumed density filtering, as in Minka,
A family of algorithms for approximate Bayesian inference, 2001), which costs O(d^2). Components are
weighed by how well they foresaw the answers. A score between 0 and 1 says more than a coin: the
dispersion of scores, learnt on the way, divides its noise (quasi-likelihood; McCullagh and Nelder,
Generalized Linear Models, 1989, chapter 9).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.local import likelihood, prior
from p2l_model.local.likelihood import Verdict
from p2l_model.local.sites import Site, Sites
from p2l_model.local.state import State, first_state
from p2l_model.local.terms import PromptTerms
from p2l_model.local.touched import Places, Row, Touched
from p2l_model.types import FloatArray, Outcome

_LEAST_VARIANCE: Final = 1e-9
_NOTHING: Final = PromptTerms()
_IDENTITY: Final = np.eye(2)
_LEAST_DISPERSION: Final = 0.05
_MOST_SURPRISE: Final = 3.0
_LEAST_SPREAD: Final = 0.01
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
    it fades towards; None for the prior. sites: where what each answer told is kept, None for
    nowhere. log_evidence: the sum of the logarithms of how probable each answer was before it was
    learnt, up to a constant."""

    def __init__(self, state: State, towards: State | None = None) -> None:
        self.state = state
        self.sites: Sites | None = None
        self.log_evidence = 0.0
        self._towards = towards
        self._kept: tuple[int, FloatArray, FloatArray] | None = None
        self._weights: tuple[FloatArray, FloatArray] | None = None
        self._places: dict[tuple[str, str | None], Places] = {}

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
        state = self.state.copy()
        for block in state.blocks:
            at = block.places(state.effects)
            block.covariance[:, at[:, None], at[None, :]] += covariance
        return LocalLayer(state, towards=state.copy())

    def without(self, left_out: Iterable[int]) -> LocalLayer:
        """A layer that has not learnt some of the answers. left_out: their places among those whose
        sites are kept, all that this one has learnt. Raises RuntimeError where none are kept."""
        if self.sites is None:
            raise RuntimeError("what the answers told was not kept")
        return LocalLayer(self.sites.without(self.state, left_out))

    def learn_grade(
        self,
        model: str,
        score: float,
        terms: PromptTerms = _NOTHING,
        source: str | None = None,
        weight: float = 1.0,
    ) -> float:
        """Learns from a score in [0, 1], and returns how many standard deviations it lay above what
        was foreseen. source: the judge, None for the layer's own. weight: for how many answers it
        counts. Raises KeyError for a model that has not joined."""
        touched = Touched(self.state, [self._row(model, terms, source)])
        mean, variance = touched.mean[:, 0], touched.spread[:, 0, 0]
        variance = np.maximum(variance, _LEAST_VARIANCE)
        heard = self._weigh(mean, variance, score, weight)
        value, information = likelihood.grade(mean, variance, score, heard.dispersion / weight)
        gain, moved = information / (1.0 + information * variance), (value - mean) / variance
        touched.move(moved[:, None], gain[:, None, None])
        self.state.count(model)
        site = information[:, None, None], (information * value + moved)[:, None]
        self._keep(touched, site, heard.evidence, heard.told, [model])
        return heard.surprise

    def learn_vote(
        self,
        model_a: str,
        model_b: str,
        outcome: Outcome,
        eta: float = 0.0,
        terms: PromptTerms = _NOTHING,
        source: str | None = None,
        weight: float = 1.0,
    ) -> float:
        """Learns from one of the four outcomes of a vote, and returns how many standard deviations
        it lay above what was foreseen of model_a; of model_b it lay as far below. eta: the raw tie
        parameter. weight: for how many votes it counts. Raises KeyError for a model that has not
        joined."""
        verdict = Verdict.of(outcome, eta, weight)
        touched = self._pair(model_a, model_b, terms, source)
        weights = self.weights
        mean = weights @ touched.mean
        apart = touched.mean - mean
        spread = np.add.reduce(weights[:, None, None] * touched.spread)
        spread += (apart * weights[:, None]).T @ apart
        found = likelihood.surprise(mean, spread, verdict)
        self._learn_pair(touched, verdict, [model_a, model_b])
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
        touched = self._pair(model_a, model_b, terms, source)
        self._learn_pair(touched, verdict, [model_a, model_b])

    def _pair(self, model_a: str, model_b: str, terms: PromptTerms, source: str | None) -> Touched:
        rows = [self._row(name, terms, source) for name in (model_a, model_b)]
        return Touched(self.state, rows)

    def _learn_pair(self, touched: Touched, verdict: Verdict, models: Sequence[str]) -> None:
        mode = likelihood.vote(touched.mean, touched.spread, verdict)
        evidence = likelihood.evidence(mode, touched.spread, verdict)
        self._credit(evidence)
        shrunk = _IDENTITY + mode.information @ touched.spread
        touched.move(mode.gradient, np.asarray(np.linalg.solve(shrunk, mode.information)))
        self.state.count(*models)
        if self.sites is not None:
            value = touched.mean[:, :, None] + touched.spread @ mode.gradient[:, :, None]
            linear = (mode.information @ value)[:, :, 0] + mode.gradient
            self._keep(touched, (mode.information, linear), evidence, np.zeros(2), models)

    def _keep(
        self,
        touched: Touched,
        site: tuple[FloatArray, FloatArray],
        evidence: FloatArray,
        dispersion: FloatArray,
        models: Sequence[str],
    ) -> None:
        """Keeps what an answer told, where that is wanted."""
        if self.sites is not None:
            believed = touched.rows, touched.mean, touched.spread
            one = Site(*believed, *site, evidence, dispersion, models, self.sites.at)
            self.sites.learnt.append(one)

    def predict(
        self, models: Sequence[str], terms: PromptTerms = _NOTHING, source: str | None = None
    ) -> Prediction:
        """What the models' answers to a prompt are worth. source: the judge whose grades are meant.
        The mixture is taken for one Gaussian of the same mean and covariance. Raises KeyError for a
        model that has not joined."""
        known = source if source in self.state.source_at else None
        mean, covariance = self.collapsed()
        factors = np.zeros((len(models), mean.size))
        for k, name in enumerate(models):
            places, factor = self._row(name, terms, known)
            factors[k, places.numbers] = factor
        value = factors @ mean
        variance = np.maximum(np.add.reduce((factors @ covariance) * factors, axis=1), 0.0)
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
        self.state.loosen(model)
        if self.sites is not None:
            self.sites.loosened.append((len(self.sites.learnt), self.sites.at, model))

    def forget(self, days: float, half_life_days: float = HALF_LIFE_DAYS) -> None:
        """Lets what was learnt fade: after a half-life an answer counts for half."""
        half_lives = days / half_life_days
        self.state.fade(0.5**half_lives, self._towards)
        if self.sites is not None:
            self.sites.at -= half_lives * math.log(2.0)

    @property
    def weights(self) -> FloatArray:
        """How much each component of the prior counts (K,), sum 1."""
        logs = self.state.log_weights
        if self._weights is None or self._weights[0] is not logs:
            odds = np.exp(logs)
            self._weights = logs, odds / np.add.reduce(odds)
        return self._weights[1]

    def _row(self, model: str, terms: PromptTerms, source: str | None) -> Row:
        """The numbers that the model's value on a prompt is made of, and their factors (n,)."""
        places = self._places.get((model, source))
        if places is None:
            levels = [] if source is None else self.state.source(source)
            places = Places.of(self.state, range(prior.N_SHARED), model, levels)
            self._places[model, source] = places
        # In the order of the prior's shared numbers, then the effect.
        factor = [1.0, places.strength, terms.difficulty, terms.deviation.get(model, 0.0), 1.0]
        if source is not None:
            factor += (1.0, places.strength)
        if places.n_axes > 0:
            axes = terms.axes[: places.n_axes].tolist()
            factor += axes
            factor += [0.0] * (places.n_axes - len(axes))
        return places, np.array(factor)

    def collapsed(self) -> tuple[FloatArray, FloatArray]:
        """Mean (d,) and covariance (d, d) of all numbers: the mixture taken for one Gaussian. Kept
        until something is learnt."""
        state = self.state
        if self._kept is None or self._kept[0] != state.version:
            weights, first = self.weights, 0
            means = np.zeros((weights.size, state.width))
            covariance = np.zeros((state.width, state.width))
            for block in state.blocks:
                own = slice(first, first + len(block.parts))
                first = own.stop
                means[own, block.numbers] = block.mean
                within = np.tensordot(weights[own], block.covariance, axes=1)
                covariance[block.numbers[:, None], block.numbers] += within
            mean = weights @ means
            apart = means - mean
            self._kept = state.version, mean, covariance + (apart * weights[:, None]).T @ apart
        return self._kept[1], self._kept[2]

    def _weigh(self, mean: FloatArray, variance: FloatArray, score: float, weight: float) -> _Heard:
        """Weighs the components by a score."""
        chance = mean_chance(mean, variance)
        whole = float(self.weights @ chance)
        surprise = (score - whole) ** 2 / max(whole * (1 - whole), 0.02)
        told = np.array([weight * min(surprise, _MOST_SURPRISE), weight])
        known = self.state.dispersion = self.state.dispersion + told
        dispersion = max(float(known[0] / known[1]), _LEAST_DISPERSION)
        coin = np.maximum(chance * (1.0 - chance), _LEAST_SPREAD)
        expected = coin * (dispersion + variance * coin)
        evidence = (-0.5 * weight) * (np.log(expected) + (score - chance) ** 2 / expected)
        self._credit(evidence)
        above = math.copysign(math.sqrt(surprise / dispersion), score - whole)
        return _Heard(dispersion, above, evidence, told)

    def _credit(self, evidence: FloatArray) -> None:
        """Weighs the components by how probable an answer was for each. evidence (K,): in natural
        logarithms."""
        most = max(evidence.tolist())
        self.log_evidence += most + math.log(float(self.weights @ np.exp(evidence - most)))
        logs = self.state.log_weights + evidence
        self.state.log_weights = logs - max(logs.tolist())


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """Of a score. dispersion: with which it counts; surprise: how many standard deviations it lay
    above what was foreseen; evidence (K,): the logarithm of how probable it was for each component;
    told (2,): what it adds to the state's dispersion."""

    dispersion: float
    surprise: float
    evidence: FloatArray
    told: FloatArray


def mean_chance(mean: FloatArray, variance: FloatArray) -> FloatArray:
    """The mean of a sigmoid over a Gaussian (MacKay, The evidence framework applied to
    classification networks, 1992): exact to 0.01 where the deviation is below 3."""
    chance: FloatArray = 1.0 / (1.0 + np.exp(-mean / np.sqrt(1.0 + math.pi * variance / 8.0)))
    return chance
