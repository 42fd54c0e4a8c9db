"""The probabilities that a vote gives to the outcomes of a family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from p2l_model.data.files import VoteTable
from p2l_model.preference import outcomes
from p2l_model.types import FloatArray, Outcome, PreferenceFamily

if TYPE_CHECKING:
    from torch import Tensor


def outcome_targets(family: PreferenceFamily) -> FloatArray:
    """For each Outcome, the probability of each of `outcomes(family)`: (4, K).

    A family without ties counts a tie as half a win for each side; a family with one kind of tie
    counts both kinds as that one.
    """
    order = list(Outcome)
    kinds = outcomes(family)
    table = np.zeros((len(order), len(kinds)))
    for code, outcome in enumerate(order):
        if outcome in kinds:
            table[code, kinds.index(outcome)] = 1.0
        elif Outcome.TIE in kinds:
            table[code, kinds.index(Outcome.TIE)] = 1.0
        else:
            table[code, :2] = 0.5
    return table


def target_matrix(family: PreferenceFamily, votes: VoteTable) -> FloatArray:
    """The probability of each of `outcomes(family)` for each vote (N, K). Soft labels are used as
    they are."""
    targets: FloatArray = outcome_targets(family)[votes.outcome]
    soft = ~np.isnan(votes.p_model_a)
    targets[soft] = 0.0
    targets[soft, 0] = votes.p_model_a[soft]
    targets[soft, 1] = 1.0 - votes.p_model_a[soft]
    return targets


def soft_targets(family: PreferenceFamily, votes: VoteTable) -> tuple[Tensor, FloatArray]:
    """`target_matrix` for torch, and the votes' weights (N,)."""
    import torch

    return torch.from_numpy(target_matrix(family, votes)), votes.weight


def balanced(
    votes: VoteTable,
    exponent: float,
    source_exponent: float = 0.0,
    sources: Mapping[str, float] | None = None,
) -> VoteTable:
    """The votes with weight / (votes on the same prompt) ** exponent: at 1 all prompts count alike,
    however many votes each has; at 0 all votes count alike.

    source_exponent: likewise by the prompts of a source, so that a large one does not drown the
    others: at 1 all sources count alike, at 0 all prompts. sources: a factor on the weights of
    those that are named.
    """
    counts = np.bincount(votes.prompt, minlength=len(votes.conversations))
    weight = votes.weight / counts[votes.prompt] ** exponent
    for name in np.unique(votes.source) if source_exponent > 0 else ():
        of_source = votes.source == name
        weight[of_source] /= np.unique(votes.prompt[of_source]).size ** source_exponent
    for name, factor in (sources or {}).items():
        weight[votes.source == name] *= factor
    return VoteTable(
        **{name: getattr(votes, name) for name in VoteTable.__slots__ if name != "weight"},
        weight=weight,
    )


def collapsed(votes: VoteTable) -> VoteTable:
    """The votes with those of the same pair and outcome as one, whose weight is their sum: all that
    a leaderboard for all prompts needs. Only their models, outcomes and weights mean anything."""
    soft = ~np.isnan(votes.p_model_a)
    alone = np.where(soft, np.arange(len(votes)), -1)
    key = np.stack([votes.model_a, votes.model_b, votes.outcome, alone])
    _, first, group = np.unique(key, axis=1, return_index=True, return_inverse=True)
    kept = {name: getattr(votes, name) for name in VoteTable.__slots__}
    kept = {k: v[first] if isinstance(v, np.ndarray) else v for k, v in kept.items()}
    return VoteTable(**kept | {"weight": np.bincount(group.reshape(-1), weights=votes.weight)})
