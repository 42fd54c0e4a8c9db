"""Trains a trunk with AdamW: one hidden layer between the frozen features and all heads.

A hidden layer can express what a linear head cannot: the kind of prompt decides which other
features matter; and the models share what is learnt. Several members with their own seeds are
joined into one wider trunk that gives exactly their mean: an ensemble at the cost of its width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.by_prompt import VoteIndex, preference_loss
from p2l_model.data.files import VoteTable
from p2l_model.fitting.config import TrunkConfig
from p2l_model.fitting.linear import heads_from_rows, rows_bias
from p2l_model.fitting.strangers import Strangers
from p2l_model.types import FloatArray, IntArray, PreferenceFamily

_WARM_UP: Final = 0.1


@dataclass(frozen=True, slots=True)
class Epoch:
    """A member's state after an epoch; losses are means per unit of vote weight."""

    number: int
    train_loss: float
    validation_loss: float


@dataclass(frozen=True, slots=True)
class LengthTargets:
    """Targets of the length rows.

    values (P, M): standardised log output tokens, NaN where unknown. log tokens = level + spread *
    value, with level (M,).
    """

    values: FloatArray
    level: FloatArray
    spread: float


class TrunkFit:
    """The training of one member.

    features (P, F): of the votes' prompts. marginal: the start of the heads' biases, so that no
    step is spent on what holds for every prompt. scores (P, M): graded answers in [0, 1], NaN where
    unknown. places (M,): where models belong beside each other on prompts that tell nothing of
    them, in natural log-odds. blanks (N, F): the features of prompts of random tokens, on which
    models are drawn to their places. targets (N, K): in place of the votes' outcomes.
    """

    def __init__(
        self,
        features: FloatArray,
        votes: VoteTable,
        family: PreferenceFamily,
        config: TrunkConfig,
        marginal: Heads,
        lengths: LengthTargets | None,
        scores: FloatArray | None = None,
        places: FloatArray | None = None,
        blanks: FloatArray | None = None,
        targets: FloatArray | None = None,
    ) -> None:
        self._start = rows_bias(marginal)
        self._votes = VoteIndex(votes, family, config.votes_per_prompt, targets)
        used = self._used = self._votes.used
        self._mean = features[used].mean(axis=0)
        deviation = features[used].std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        self._x = self._standardised(features)
        self._n_models = len(votes.models)
        self._family, self._config, self._lengths = family, config, lengths
        self._values = None if lengths is None else torch.from_numpy(lengths.values).float()
        self._scores = None if scores is None else torch.from_numpy(scores).float()
        self._strangers = Strangers.of(votes, places, config.place_stiffness)
        self._blanks = None if blanks is None else self._standardised(blanks)
        self._share = torch.from_numpy(_shares(votes, used)).float()

    def run(
        self, seed: int, judge: Callable[[Heads], float], on_epoch: Callable[[Epoch], None]
    ) -> Heads:
        """Returns the heads of the epoch for which `judge` is lowest.

        The result is deterministic for a seed on one machine.
        """
        torch.manual_seed(seed)
        network = self._network()
        optimiser, schedule = self._optimiser(network)
        best = self._heads(network)  # the marginal leaderboard, kept if no epoch is better
        best_loss = judge(best)
        for number in range(1, self._config.epochs + 1):
            train_loss = self._epoch(network, optimiser, schedule)
            heads = self._heads(network)
            loss = judge(heads)
            if loss < best_loss:
                best, best_loss = heads, loss
            on_epoch(Epoch(number, train_loss, loss))
        return best

    def _standardised(self, features: FloatArray) -> Tensor:
        return torch.from_numpy((features - self._mean) / self._scale).float()

    def _network(self) -> nn.Sequential:
        beside = sum(one is not None for one in (self._values, self._scores))
        n_outputs = self._n_models * (1 + beside) + 2
        out = nn.Linear(self._config.hidden, n_outputs)
        nn.init.zeros_(out.weight)
        nn.init.zeros_(out.bias)
        with torch.no_grad():
            out.bias[: self._start.size] = torch.from_numpy(self._start)
            if self._scores is not None:
                out.bias[-self._n_models :] = _mean_logits(self._scores)
        return nn.Sequential(
            nn.Dropout(self._config.input_dropout),
            nn.Linear(self._x.shape[1], self._config.hidden),
            nn.ReLU(),
            nn.Dropout(self._config.dropout),
            out,
        )

    def _optimiser(
        self, network: nn.Module
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """A cosine schedule with warm-up; biases have no weight decay."""
        matrices = [p for p in network.parameters() if p.ndim > 1]
        biases = [p for p in network.parameters() if p.ndim == 1]
        groups = [
            {"params": matrices, "weight_decay": self._config.weight_decay},
            {"params": biases, "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=self._config.learning_rate)
        n_batches = -(-self._used.size // self._config.batch_prompts)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            self._config.learning_rate,
            total_steps=n_batches * self._config.epochs,
            pct_start=_WARM_UP,
        )
        return optimiser, schedule

    def _epoch(
        self,
        network: nn.Sequential,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> float:
        network.train()
        shuffled = self._used[torch.randperm(self._used.size).numpy()]
        total = 0.0
        for start in range(0, shuffled.size, self._config.batch_prompts):
            batch = shuffled[start : start + self._config.batch_prompts]
            loss, preference = self._loss(network, batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += preference * batch.size
        return float(total / shuffled.size)

    def _loss(self, network: nn.Sequential, batch: IntArray) -> tuple[Tensor, float]:
        """Returns the loss to minimise and its preference part, both as means per prompt."""
        hidden = network[:-1](self._x[batch])
        outputs = network[-1](hidden)  # (B, M + 2 [+ M lengths] [+ M scores])
        n = self._n_models
        preference = preference_loss(self._family, outputs, n, self._votes.batch(batch))
        unknown = self._unknown(network[-1], hidden, batch) + self._blank(network, batch.size)
        total = preference + self._config.stranger_weight * unknown
        if self._values is not None:
            values = self._values[batch]
            squares = (outputs[:, n + 2 : 2 * n + 2] - values.nan_to_num()).square()
            total = total + self._config.length_weight * _known_mean(squares, values)
        if self._scores is not None:
            scores = self._scores[batch]
            entropy = binary_cross_entropy_with_logits(
                outputs[:, -n:], scores.nan_to_num(), reduction="none"
            )
            share = self._share[batch]
            total = total + self._config.score_weight * _prompt_mean(entropy, scores, share)
        return total, float(preference.detach())

    def _unknown(self, out: nn.Module, hidden: Tensor, batch: IntArray) -> Tensor:
        """The penalty on strangers. It moves their rows alone: the trunk is not for them."""
        outputs = out(hidden.detach())
        n = self._n_models
        penalty = self._strangers.penalty(outputs[:, :n], batch)
        if self._scores is not None:
            penalty = penalty + self._strangers.penalty(outputs[:, -n:], batch)
        return penalty

    def _blank(self, network: nn.Sequential, n: int) -> Tensor:
        """The penalty on as many blanks; it moves the heads alone as well."""
        if self._blanks is None:
            return self._x.new_zeros(())
        drawn = self._blanks[torch.randint(self._blanks.shape[0], (n,))]
        outputs = network[-1](network[:-1](drawn).detach())
        penalty = self._strangers.blank_penalty(outputs[:, : self._n_models])
        if self._scores is not None:
            penalty = penalty + self._strangers.blank_penalty(outputs[:, -self._n_models :])
        return penalty

    def _heads(self, network: nn.Module) -> Heads:
        """The network's heads, converted to features that are not standardised."""
        trunk_weight, trunk_bias, weight, bias = (
            p.detach().double().numpy().copy() for p in network.parameters()
        )
        trunk_weight = trunk_weight / self._scale
        n = self._n_models + 2
        heads = replace(
            heads_from_rows(self._family, weight[:n], bias[:n]),
            trunk_weight=trunk_weight,
            trunk_bias=trunk_bias - trunk_weight @ self._mean,
        )
        if self._lengths is not None:
            spread, level = self._lengths.spread, self._lengths.level
            rows = slice(n, n + self._n_models)
            heads = replace(
                heads,
                length_weight=spread * weight[rows],
                length_bias=level + spread * bias[rows],
            )
        if self._scores is not None:
            rows = slice(-self._n_models, None)
            heads = replace(heads, score_weight=weight[rows], score_bias=bias[rows])
        return heads


def _known_mean(losses: Tensor, targets: Tensor) -> Tensor:
    """The mean of the losses whose target is not NaN; 0 where there are none."""
    known = ~torch.isnan(targets)
    return (losses * known).sum() / known.sum().clamp(min=1)


def _prompt_mean(losses: Tensor, targets: Tensor, share: Tensor) -> Tensor:
    """The mean over prompts of each one's mean loss where its target is not NaN. share (B,): how
    much a prompt counts."""
    known = ~torch.isnan(targets)
    counts = known.sum(dim=1)
    of_prompt = (losses * known).sum(dim=1) / counts.clamp(min=1)
    return (of_prompt * share)[counts > 0].sum() / losses.shape[0]


def _shares(votes: VoteTable, used: IntArray) -> FloatArray:
    """How much each prompt (P,) counts: as its votes together; 1 on average."""
    weight = np.bincount(votes.prompt, weights=votes.weight, minlength=len(votes.conversations))
    shares: FloatArray = weight * used.size / weight.sum()
    return shares


def _mean_logits(scores: Tensor) -> Tensor:
    """The logit (M,) of each model's mean score over scores (P, M); 0 where it has none."""
    known = ~torch.isnan(scores)
    # Half an answer of each kind is added, which keeps the logit of a model that is always right
    # finite.
    mean = (scores.nan_to_num(0.0).sum(dim=0) + 0.5) / (known.sum(dim=0) + 1)
    return torch.logit(mean)


def joined(members: Sequence[Heads]) -> Heads:
    """One trunk as wide as all members' together, whose heads give the members' mean."""
    parts: dict[str, FloatArray | float | None] = {
        "trunk_weight": np.concatenate(
            [m.trunk_weight for m in members if m.trunk_weight is not None]
        ),
        "trunk_bias": np.concatenate([m.trunk_bias for m in members if m.trunk_bias is not None]),
    }
    for name in ("weight", "eta_weight", "gamma_weight", "length_weight", "score_weight"):
        weights = [w for w in (getattr(m, name) for m in members) if w is not None]
        parts[name] = np.concatenate(weights, axis=-1) / len(members) if weights else None
    for name in ("bias", "eta_bias", "gamma_bias", "length_bias", "score_bias"):
        biases = [b for b in (getattr(m, name) for m in members) if b is not None]
        parts[name] = np.mean(biases, axis=0) if biases else None
    return Heads(**parts)  # type: ignore[arg-type]
