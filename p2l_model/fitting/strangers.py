"""Models whose level on a prompt no vote tells, and the level that they are given there.

A model that its source never asked has no votes that would hold its row in place on such prompts,
and a head would invent something. It is drawn to where it belongs beside the others: to their mean,
or, where places are given, as far above or below it as its place is above or below theirs. How much
a unit of place is worth depends on the source and its judge (a strict checker spreads models, a
lenient judge does not), so that it is fitted on each prompt to the models that are known there,
with 1 as a weak prior.

A blank is a prompt of random tokens, of no source. All models are strangers there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Strangers:
    """strange (P, M): whether nothing tells the model's level on the prompt. places (M,): of the
    models, in natural log-odds. stiffness: the weight of the prior on what a unit of place is
    worth, in squares of it: as much as so many known models each one unit from their mean; without
    it a unit is worth 1."""

    strange: Tensor
    places: Tensor
    stiffness: float | None = None

    @classmethod
    def of(
        cls, votes: VoteTable, places: FloatArray | None = None, stiffness: float | None = None
    ) -> Strangers:
        """Those of the votes. places: without them all models are alike."""
        if places is None:
            places = np.zeros(len(votes.models))
        return cls(torch.from_numpy(strangers(votes)), torch.from_numpy(places).float(), stiffness)

    def penalty(self, values: Tensor, prompts: IntArray) -> Tensor:
        """The mean squared distance of the strangers' values (B, M) from their places beside the
        others'."""
        strange = self.strange[prompts]
        if not bool(strange.any()):
            return values.new_zeros(())
        expected = self._expected(values.detach(), (~strange).float())
        return (values - expected)[strange].square().mean()

    def blank_penalty(self, values: Tensor) -> Tensor:
        """The mean squared distance of the models' values (B, M) on blanks from their places beside
        each other."""
        apart = values - self.places
        return (apart - apart.detach().mean(dim=1, keepdim=True)).square().mean()

    def _expected(self, values: Tensor, known: Tensor) -> Tensor:
        """Where values (B, M) belong by the places, beside those that are known (B, M)."""
        share = known / known.sum(dim=1, keepdim=True)
        level = (values * share).sum(dim=1, keepdim=True)
        apart = self.places - (self.places * share).sum(dim=1, keepdim=True)
        if self.stiffness is None:
            return level + apart
        square = (apart.square() * known).sum(dim=1, keepdim=True)
        product = ((values - level) * apart * known).sum(dim=1, keepdim=True)
        worth = (self.stiffness + product).clamp(min=0) / (self.stiffness + square)
        return level + worth * apart


def tied_islands(heads: Heads, votes: VoteTable, places: FloatArray) -> Heads:
    """The heads with the level of each island of models tied to that of the largest.

    No vote tells how an island's models stand beside others, on any prompt. Its rows keep their
    differences, and their mean becomes the mean of the largest island's rows, as far above or below
    it as their places are. places (M,): in natural log-odds.
    """
    island = _islands(votes)
    main = island == np.bincount(island).argmax()
    weight, bias = heads.weight.copy(), heads.bias.copy()
    for label in np.unique(island[~main]):
        own = island == label
        weight[own] += weight[main].mean(axis=0) - weight[own].mean(axis=0)
        above = places[own].mean() - places[main].mean()
        bias[own] += bias[main].mean() + above - bias[own].mean()
    return replace(heads, weight=weight, bias=bias)


def strangers(votes: VoteTable) -> NDArray[np.bool_]:
    """Whether (P, M) the model has no vote in the prompt's source, or no chain of comparisons, over
    all votes, connects it to the models that the prompt compares."""
    return (_elsewhere(votes) | _unconnected(votes)) & ~_compared(votes)


def _compared(votes: VoteTable) -> NDArray[np.bool_]:
    """Whether (P, M) the prompt has a vote on the model."""
    there = np.zeros((len(votes.conversations), len(votes.models)), dtype=np.bool_)
    there[votes.prompt, votes.model_a] = True
    there[votes.prompt, votes.model_b] = True
    return there


def _elsewhere(votes: VoteTable) -> NDArray[np.bool_]:
    """Whether (P, M) no vote of the prompt's sources is on the model; false without votes."""
    names, source = np.unique(votes.source, return_inverse=True)
    in_source = np.zeros((names.size, len(votes.models)), dtype=np.bool_)
    of_prompt = np.zeros((len(votes.conversations), names.size), dtype=np.bool_)
    in_source[source, votes.model_a] = True
    in_source[source, votes.model_b] = True
    of_prompt[votes.prompt, source] = True
    has_votes = of_prompt.any(axis=1, keepdims=True)
    told: NDArray[np.bool_] = of_prompt.astype(np.float32) @ in_source.astype(np.float32) > 0
    return ~told & has_votes


def _unconnected(votes: VoteTable) -> NDArray[np.bool_]:
    island = _islands(votes)
    of_prompt = np.full(len(votes.conversations), -1)
    of_prompt[votes.prompt] = island[votes.model_a]
    apart: NDArray[np.bool_] = (of_prompt[:, None] != island[None, :]) & (of_prompt >= 0)[:, None]
    return apart


def _islands(votes: VoteTable) -> IntArray:
    """Group numbers (M,), equal for two models that a chain of comparisons connects."""
    label = np.arange(len(votes.models))
    pairs = np.unique(np.stack([votes.model_a, votes.model_b]), axis=1)
    for _ in label:
        before = label.copy()
        low = np.minimum(label[pairs[0]], label[pairs[1]])
        np.minimum.at(label, pairs[0], low)
        np.minimum.at(label, pairs[1], low)
        if np.array_equal(before, label):
            break
    return label
