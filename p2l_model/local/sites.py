"""What each answer told a layer, kept so that answers can be left out without learning the others
anew.

An answer multiplies what is believed by a Gaussian of the values that it is about: its site. So the
layer of all answers but some is the product of the prior and the sites of the others, as the cavity
is in expectation propagation (Minka, A family of algorithms for approximate Bayesian inference,
2001). Of the answers left out, this only remains: where the others' sites were fitted, and by how
much each component foresaw the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import numpy as np

from p2l_model.local.block import Block
from p2l_model.local.state import State
from p2l_model.local.touched import Row
from p2l_model.types import FloatArray

_AT_ONCE: Final = 256  # sites that are summed by one multiplication of matrices


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """Of one answer about r values. rows: the numbers of each value and their factors. mean (K, r),
    spread (K, r, r): what was believed of the values. precision (K, r, r), linear (K, r): the
    Gaussian of the values in natural parameters; evidence (K,): the logarithm of how probable the
    answer was; dispersion (2,): what it adds to a layer's. models: whose answers it counts for. at:
    the logarithm of what had faded when it was learnt."""

    rows: Sequence[Row]
    mean: FloatArray
    spread: FloatArray
    precision: FloatArray
    linear: FloatArray
    evidence: FloatArray
    dispersion: FloatArray
    models: Sequence[str]
    at: float


def foreseen(
    mean: FloatArray, spread: FloatArray, precision: FloatArray, linear: FloatArray
) -> FloatArray:
    """The logarithm (K,) of the mean of exp(linear . v - v . precision v / 2) over Gaussian values
    v. mean (K, r), spread (K, r, r): of the values; precision (K, r, r), linear (K, r)."""
    mixed = np.eye(mean.shape[1]) + spread @ precision
    right = mean[:, :, None] + spread @ linear[:, :, None]
    after = np.linalg.solve(mixed, right)[:, :, 0]
    fit = np.einsum("kr,kr->k", linear, mean + after)
    fit -= np.einsum("kr,krs,ks->k", after, precision, mean)
    logs: FloatArray = 0.5 * (fit - np.linalg.slogdet(mixed)[1])
    return logs


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """Of sites. precisions (k, d, d), linear (k, d): of each block; evidence (K,), dispersion (2,):
    of all."""

    blocks: Sequence[tuple[FloatArray, FloatArray]]
    evidence: FloatArray
    dispersion: FloatArray

    def less(self, other: _Sum) -> _Sum:
        pairs = zip(self.blocks, other.blocks, strict=True)
        blocks = [(a - less_a, b - less_b) for (a, b), (less_a, less_b) in pairs]
        return _Sum(blocks, self.evidence - other.evidence, self.dispersion - other.dispersion)


@dataclass(slots=True)
class Sites:
    """Of a layer's answers, in the order in which it learnt them. loosened: before which answer,
    and what had faded then, a model was loosened. at: the logarithm of what has faded."""

    learnt: list[Site] = field(default_factory=list)
    loosened: list[tuple[int, float, str]] = field(default_factory=list)
    at: float = 0.0
    _sums: list[_Sum] = field(default_factory=list)

    def without(self, state: State, left_out: Iterable[int]) -> State:
        """The state without some of the answers. state: of the layer that learnt them all, nothing
        since. left_out: their places in `learnt`."""
        out = sorted(set(left_out))
        if not out:
            return state.copy()
        found, before = state.first(), 0.0
        if not self._sums:
            self._sums = [
                _summed(self.learnt[first:last], state, at)
                for first, last, at, _ in self._stretches()
            ]
        for (first, last, at, model), whole in zip(self._stretches(), self._sums, strict=True):
            if first > 0:
                found.fade(math.exp(at - before))
            own = [self.learnt[n] for n in out if first <= n < last]
            others = whole.less(_summed(own, state, at))
            found.learn(others.blocks, others.evidence, others.dispersion)
            if model is not None:
                found.loosen(model)
            before = at
        for n in sorted(set(range(len(self.learnt))).difference(out)):
            found.count(*self.learnt[n].models)
        return found

    def _stretches(self) -> Iterator[tuple[int, int, float, str | None]]:
        """From one loosening to the next: the first answer and that after the last, what has faded
        at the end, and which model is loosened then."""
        first = 0
        for last, at, model in self.loosened:
            yield first, last, at, model
            first = last
        yield first, len(self.learnt), self.at, None


def _summed(sites: Sequence[Site], state: State, at: float) -> _Sum:
    """at: what has faded until the time for which they are summed."""
    kept = np.array([math.exp(at - site.at) for site in sites])
    blocks, begin = [], 0
    for k, block in enumerate(state.blocks):
        own = slice(begin, begin + len(block.parts))
        begin = own.stop
        blocks.append(_summed_in(sites, kept, block, k, own))
    evidence, dispersion = np.zeros(begin), np.zeros(2)
    for some in _alike(sites):
        told = [sites[n] for n in some]
        evidence += kept[some] @ _scales(told)
        dispersion += kept[some] @ np.array([site.dispersion for site in told])
    return _Sum(blocks, evidence, dispersion)


def _alike(sites: Sequence[Site]) -> Iterator[list[int]]:
    """The places of the sites, together those about as many values."""
    order = sorted(range(len(sites)), key=lambda n: len(sites[n].rows))
    for _, group in groupby(order, key=lambda n: len(sites[n].rows)):
        places = list(group)
        for begin in range(0, len(places), _AT_ONCE):
            yield places[begin : begin + _AT_ONCE]


def _scales(sites: Sequence[Site]) -> FloatArray:
    """The logarithms (n, K) of the factors by which the sites are larger than their Gaussians: with
    these they foresaw their answers by as much as these were probable."""
    mean = np.concatenate([site.mean for site in sites])
    spread = np.concatenate([site.spread for site in sites])
    precision = np.concatenate([site.precision for site in sites])
    linear = np.concatenate([site.linear for site in sites])
    evidence = np.array([site.evidence for site in sites])
    return evidence - foreseen(mean, spread, precision, linear).reshape(evidence.shape)


def _summed_in(
    sites: Sequence[Site], kept: FloatArray, block: Block, k: int, own: slice
) -> tuple[FloatArray, FloatArray]:
    """In the k-th block, whose components are `own` of all."""
    precision, linear = np.zeros(block.covariance.shape), np.zeros(block.mean.shape)
    for places in _alike(sites):
        some, shares = [sites[n] for n in places], kept[places]
        factors = np.zeros((len(some), len(some[0].rows), block.numbers.size))
        for one, site in zip(factors, some, strict=True):
            for row, (where, factor) in zip(one, site.rows, strict=True):
                at = where.by_block[k]
                row[at] = factor[: at.size]
        precisions = np.array([site.precision[own] for site in some])
        linears = np.array([site.linear[own] for site in some])
        precisions *= shares[:, None, None, None]
        linears *= shares[:, None, None]
        told = np.swapaxes(precisions @ factors[:, None], 0, 1)
        flat = factors.reshape(-1, block.numbers.size)
        precision += flat.T @ told.reshape(len(block.parts), *flat.shape)
        linear += np.tensordot(linears, factors, axes=([0, 2], [0, 1]))
    return precision, linear
