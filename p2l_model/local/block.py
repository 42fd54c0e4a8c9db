"""The Gaussians of those components of the prior that give a variance to the same numbers.

Most components have no heads. Their Gaussians are over the other numbers only, so that an answer
costs them a sixteenth of what it costs where models have heads of four numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2l_model.local import prior
from p2l_model.types import FloatArray, IntArray


@dataclass(slots=True)
class Block:
    """parts (k,): the components. has_heads: whether their heads vary. numbers (d,): which of the
    layer's numbers theirs are, ascending. mean (k, d), covariance (k, d, d): of each Gaussian."""

    parts: Sequence[prior.Component]
    has_heads: bool
    numbers: IntArray
    mean: FloatArray
    covariance: FloatArray

    @classmethod
    def first(cls, parts: Sequence[prior.Component], *, has_heads: bool) -> Block:
        """Before any model has joined."""
        mean = np.stack([part.mean for part in parts])
        covariance = np.stack([np.diag(part.variance) for part in parts])
        return cls(parts, has_heads, np.arange(prior.N_SHARED), mean, covariance)

    def copy(self) -> Block:
        """One that can change by itself."""
        arrays = self.numbers, self.mean.copy(), self.covariance.copy()
        return Block(self.parts, self.has_heads, *arrays)

    def places(self, numbers: IntArray) -> IntArray:
        """Where some of the layer's numbers are among those of the block, which has them all."""
        return np.searchsorted(self.numbers, numbers)

    def grow(self, numbers: IntArray) -> None:
        """Adds numbers of the layer, which are 0 for certain."""
        n = len(numbers)
        self.numbers = np.concatenate([self.numbers, numbers])
        self.mean = np.pad(self.mean, ((0, 0), (0, n)))
        self.covariance = np.pad(self.covariance, ((0, 0), (0, n), (0, n)))

    def join(self, uncertain: FloatArray, effects: IntArray, head: IntArray) -> None:
        """Gives the last of M models its variance. uncertain (M, M): covariance of the strengths.
        effects (M,): the models' effects, and head (A,): the model's head, among the layer's
        numbers."""
        places, n = self.places(effects), len(effects) - 1
        before, at = places[:n], places[n]
        for k, part in enumerate(self.parts):
            grown, whole = self.covariance[k], part.effects(uncertain)
            # What was learnt of its relatives says something of it: it joins conditional on them.
            pull = np.linalg.solve(whole[:n, :n], whole[:n, n]) if n else np.zeros(0)
            column = grown[:, before] @ pull
            self.mean[k, at] = self.mean[k][before] @ pull
            grown[:, at] = grown[at, :] = column
            grown[at, at] = whole[n, n] - whole[n, :n] @ pull + pull @ column[before]
            if self.has_heads:
                own = self.places(head)
                grown[own, own] = part.head**2

    def source(self, numbers: IntArray) -> None:
        """Gives the level and the slope of a new source their variances. numbers (2,): theirs."""
        at = self.places(numbers)
        for k, part in enumerate(self.parts):
            self.covariance[k, at, at] = part.source()

    def prior(
        self, uncertain: FloatArray, effects: IntArray, heads: IntArray, sources: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Mean (k, d) and covariance (k, d, d) before any answer. uncertain (M, M), effects (M,):
        as in `join`. heads: all numbers of heads; sources (S, 2): levels and slopes."""
        n = prior.N_SHARED
        mean, covariance = np.zeros(self.mean.shape), np.zeros(self.covariance.shape)
        at, levels = self.places(effects), self.places(sources.ravel())
        own = self.places(heads) if self.has_heads else np.zeros(0, dtype=np.int64)
        for k, part in enumerate(self.parts):
            mean[k, :n], covariance[k, :n, :n] = part.mean, np.diag(part.variance)
            covariance[k][np.ix_(at, at)] = part.effects(uncertain)
            covariance[k, own, own] = part.head**2
            covariance[k, levels, levels] = np.tile(part.source(), len(sources))
        return mean, covariance

    def fade(self, kept: float, mean: FloatArray, covariance: FloatArray) -> None:
        """Goes back towards a Gaussian: precisions are mixed. kept: the share of its information
        that an answer keeps. mean (k, d), covariance (k, d, d): what it goes back to.

        With S the covariance now and C that to go back to, (kept S^-1 + (1 - kept) C^-1)^-1 is
        S (kept C + (1 - kept) S)^-1 C, which needs no inverse of a number that is certain.
        """
        mixed = kept * covariance + (1.0 - kept) * self.covariance
        diagonal = np.einsum("kii->ki", mixed)
        diagonal += diagonal == 0.0
        moved = (self.mean - mean)[:, :, None]
        solved = np.linalg.solve(mixed, np.concatenate([covariance, moved], axis=2))
        faded = self.covariance @ solved[:, :, :-1]
        self.covariance = (faded + np.swapaxes(faded, 1, 2)) / 2
        self.mean = mean + kept * (covariance @ solved[:, :, -1:])[:, :, 0]

    def absorb(self, precision: FloatArray, linear: FloatArray) -> FloatArray:
        """Multiplies each Gaussian by exp(linear . x - x . precision x / 2), and returns the
        logarithms (k,) of the means of these factors. precision (k, d, d), linear (k, d)."""
        mean, told = self.mean, (self.covariance @ linear[:, :, None])[:, :, 0]
        mixed = np.eye(self.numbers.size) + self.covariance @ precision
        right = np.concatenate([self.covariance, (mean + told)[:, :, None]], axis=2)
        solved = np.linalg.solve(mixed, right)
        found = solved[:, :, :-1]
        self.covariance = (found + np.swapaxes(found, 1, 2)) / 2
        self.mean = np.ascontiguousarray(solved[:, :, -1])
        fit = np.einsum("ki,ki->k", linear, mean + self.mean)
        fit -= np.einsum("ki,kij,kj->k", self.mean, precision, mean)
        logs: FloatArray = 0.5 * (fit - np.linalg.slogdet(mixed)[1])
        return logs
