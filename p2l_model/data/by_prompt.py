"""Votes by prompt: the training data of a batch of prompts, for any network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from p2l_model.data.files import VoteTable
from p2l_model.data.soft_labels import target_matrix
from p2l_model.losses import log_probabilities
from p2l_model.types import FloatArray, IntArray, PreferenceFamily


@dataclass(frozen=True, slots=True)
class VoteBatch:
    """V votes on B prompts.

    of_prompt (V,): the index of the vote's prompt in the batch; a, b (V,): models; targets (V, K);
    weight (V,): its mean over all prompts of the data is 1 per prompt.
    """

    of_prompt: Tensor
    a: Tensor
    b: Tensor
    targets: Tensor
    weight: Tensor

    def to(self, device: torch.device) -> VoteBatch:
        """The same batch on another device."""
        return VoteBatch(*(getattr(self, name).to(device) for name in self.__slots__))


class VoteIndex:
    """Finds the votes of prompts. used: the prompts that have votes."""

    def __init__(
        self,
        votes: VoteTable,
        family: PreferenceFamily,
        most: int | None = None,
        targets: FloatArray | None = None,
    ) -> None:
        """most: of a prompt with more votes so many are drawn, anew for each batch, which then
        count for all of them. targets (N, K): in place of the votes' outcomes."""
        if targets is None:
            targets = target_matrix(family, votes)
        self.used = np.unique(votes.prompt)
        order = np.argsort(votes.prompt, kind="stable")
        n_prompts = len(votes.conversations)
        self._first = np.searchsorted(votes.prompt[order], np.arange(n_prompts))
        self._count = np.bincount(votes.prompt, minlength=n_prompts)
        self._a = torch.from_numpy(votes.model_a[order])
        self._b = torch.from_numpy(votes.model_b[order])
        self._targets = torch.from_numpy(targets[order]).float()
        weight = votes.weight[order] * self.used.size / votes.weight.sum()
        self._weight = torch.from_numpy(weight).float()
        self._most = most
        self._chance = np.random.default_rng(0)

    def batch(self, prompts: IntArray) -> VoteBatch:
        """All votes on the prompts (B,)."""
        counts = self._count[prompts]
        of_prompt = np.repeat(np.arange(prompts.size), counts)
        offset = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        rows = np.repeat(self._first[prompts], counts) + offset
        weight = self._weight[rows]
        if self._most is not None:
            share = np.minimum(self._most / np.maximum(counts, 1), 1.0)[of_prompt]
            drawn = self._chance.random(rows.size) < share
            rows, of_prompt = rows[drawn], of_prompt[drawn]
            weight = self._weight[rows] / torch.from_numpy(share[drawn]).float()
        return VoteBatch(
            torch.from_numpy(of_prompt),
            self._a[rows],
            self._b[rows],
            self._targets[rows],
            weight,
        )


def preference_loss(
    family: PreferenceFamily, outputs: Tensor, n_models: int, votes: VoteBatch
) -> Tensor:
    """The weighted cross-entropy per prompt. outputs: (B, M + 2 or more): the models' coefficients,
    raw eta, raw gamma."""
    logs = log_probabilities(
        family,
        outputs[votes.of_prompt, votes.a],
        outputs[votes.of_prompt, votes.b],
        outputs[votes.of_prompt, n_models],
        outputs[votes.of_prompt, n_models + 1],
    )
    losses = -(votes.targets * logs).sum(dim=-1)
    return (votes.weight * losses).sum() / outputs.shape[0]
