"""Fits linear heads on frozen features by regularised maximum likelihood, with L-BFGS.

The fit is deterministic: every step uses all data in double precision, and no random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from p2l_model.checkpoint.heads import ETA_FAMILIES, Heads
from p2l_model.data.files import VoteTable
from p2l_model.data.soft_labels import soft_targets
from p2l_model.errors import TrainingError
from p2l_model.losses import cross_entropy, log_probabilities
from p2l_model.types import FloatArray, PreferenceFamily

# Keeps the coefficient of a model that has won or lost everything finite.
BIAS_L2: Final = 1e-6
_HISTORY: Final = 20


@dataclass(frozen=True, slots=True)
class FitOptions:
    """The regularisation of a fit, on standardised features.

    A model's weights are a part common to all models (a hard prompt is hard for all) plus its own
    deviation: l2 is the penalty on the deviations and on the weights of eta and gamma, l2_common
    that on the common part. max_steps: of L-BFGS, in total.
    """

    family: PreferenceFamily
    l2: float
    l2_common: float
    max_steps: int = 200
    tolerance: float = 1e-7


@dataclass(frozen=True, slots=True)
class Prior:
    """A centre for the biases other than zero.

    centre (M + 2,): those of the models, of eta and of gamma. strength: the weight of the squared
    distance, relative to the mean loss of a vote.
    """

    centre: FloatArray
    strength: float


@dataclass(slots=True)
class FitState:
    """The state of a fit, from which it can continue after a kill."""

    parameters: Tensor
    step: int = 0
    loss: float = float("nan")
    converged: bool = False


class HeadFit:
    """One fit. features (P, H): of the votes' prompts; H may be 0 (the marginal leaderboard)."""

    def __init__(
        self,
        features: FloatArray,
        votes: VoteTable,
        options: FitOptions,
        prior: Prior | None = None,
    ) -> None:
        self._options = options
        prior = prior or Prior(np.zeros(len(votes.models) + 2), BIAS_L2)
        self._centre, self._ridge = torch.from_numpy(prior.centre), prior.strength
        self._mean = features[np.unique(votes.prompt)].mean(axis=0)
        deviation = features[np.unique(votes.prompt)].std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        self._x = torch.from_numpy((features - self._mean) / self._scale)  # (P, H)
        self._targets, weights = soft_targets(options.family, votes)  # (N, K), (N,)
        self._weights = torch.from_numpy(weights)
        self._prompt = torch.from_numpy(votes.prompt)
        self._a, self._b = torch.from_numpy(votes.model_a), torch.from_numpy(votes.model_b)
        # one row per model (its deviation), one each for eta and gamma, then the part common to all
        # models
        self._shape = (len(votes.models) + 3, features.shape[1] + 1)

    def start(self) -> FitState:
        """All weights are zero and the biases are the prior's centre, or zero without a prior."""
        table = torch.zeros(self._shape, dtype=torch.float64)
        table[:-1, -1] = self._centre
        return FitState(table.flatten())

    def run(
        self, state: FitState, n_steps: int, on_step: Callable[[FitState], None] | None = None
    ) -> None:
        """Takes up to n_steps more steps, or until convergence. Raises TrainingError where the loss
        is no longer finite."""
        while n_steps > 0 and state.step < self._options.max_steps and not state.converged:
            before = state.loss
            chunk = min(n_steps, _HISTORY)
            self._descend(state, chunk)
            n_steps -= chunk
            change = abs(before - state.loss)
            state.converged = change <= self._options.tolerance * abs(state.loss)
            if on_step is not None:
                on_step(state)

    def heads(self, state: FitState) -> Heads:
        """The resulting heads, for features that are not standardised."""
        rows, _ = self._rows(state.parameters)
        table = rows.numpy()
        weight = table[:, :-1] / self._scale
        bias = table[:, -1] - weight @ self._mean
        return heads_from_rows(self._options.family, weight, bias)

    def _descend(self, state: FitState, n_steps: int) -> None:
        parameters = state.parameters.clone().requires_grad_(True)
        optimiser = torch.optim.LBFGS(
            [parameters],
            max_iter=n_steps,
            max_eval=n_steps * 3,
            history_size=_HISTORY,
            tolerance_grad=1e-9,
            tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = self._objective(parameters)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        state.parameters = parameters.detach()
        state.step += n_steps
        with torch.no_grad():
            state.loss = float(self._objective(state.parameters))
        if not np.isfinite(state.loss):
            raise TrainingError("the loss is not finite: raise --l2 or look at the data")

    def _objective(self, parameters: Tensor) -> Tensor:
        rows, common = self._rows(parameters)
        outputs = self._x @ rows[:, :-1].T + rows[:, -1]  # (P, M + 2)
        a, b = outputs[self._prompt, self._a], outputs[self._prompt, self._b]
        eta, gamma = outputs[self._prompt, -2], outputs[self._prompt, -1]
        logs = log_probabilities(self._options.family, a, b, eta, gamma)
        table = parameters.reshape(self._shape)
        penalty = self._options.l2 * table[:-1, :-1].square().sum()
        penalty = penalty + self._options.l2_common * common.square().sum()
        ridge = self._ridge * (rows[:, -1] - self._centre).square().sum()
        return cross_entropy(logs, self._targets, self._weights) + penalty + ridge

    def _rows(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The weights and bias (M + 2, H + 1) of every model, of eta and of gamma; and the common
        part (H,)."""
        table = parameters.reshape(self._shape)
        common = table[-1].clone()
        common[-1] = 0.0  # each model has a bias of its own
        models = table[:-3] + common
        return torch.cat([models, table[-3:-1]]), common[:-1]


def heads_from_rows(family: PreferenceFamily, weight: FloatArray, bias: FloatArray) -> Heads:
    """Heads from weight (M + 2, H) and bias (M + 2,): the models' rows, then eta's, then gamma's.
    Rows that the family does not have are left out."""
    with_eta, with_gamma = family in ETA_FAMILIES, family is PreferenceFamily.BA
    return Heads(
        weight[:-2],
        bias[:-2],
        weight[-2] if with_eta else None,
        float(bias[-2]) if with_eta else None,
        weight[-1] if with_gamma else None,
        float(bias[-1]) if with_gamma else None,
    )


def rows_bias(heads: Heads) -> FloatArray:
    """The biases (M + 2,) in the order that `heads_from_rows` takes."""
    tail = [0.0 if bias is None else bias for bias in (heads.eta_bias, heads.gamma_bias)]
    return np.append(heads.bias, tail)


def fit_heads(
    features: FloatArray, votes: VoteTable, options: FitOptions, prior: Prior | None = None
) -> Heads:
    """A complete fit. Raises TrainingError."""
    fit = HeadFit(features, votes, options, prior)
    state = fit.start()
    fit.run(state, options.max_steps)
    return fit.heads(state)
