"""Aggregating a leaderboard: the sufficient statistic against Adam over prompts x pairs.

    python benchmarks/bench_aggregate.py [--prompts 10000] [--models 100]

Adam sees all prompts and all their pairs in each step, with the model's own probabilities as soft
targets, computed as they are needed, and stops as soon as every coefficient is within 1e-3 of the
minimiser (which no user would know). CPU seconds, one thread. Reading the prompts (the backbone) is
the same work for both and is not counted.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import Tensor

from p2l_model.analysis.soft_fit import Fitted, fit_sums
from p2l_model.analysis.sums import BlockSums
from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.losses import log_probabilities
from p2l_model.types import PreferenceFamily

BATCH, STEP_SIZE, N_STEPS, CLOSE = 128, 0.2, 250, 1e-3  # the step size is the best of several
ETA = {PreferenceFamily.RK: 15.0}


def outputs_of(family: PreferenceFamily, n: int, n_models: int) -> HeadOutputs:
    """Leaderboards as they vary over prompts in practice: strength, and as much by prompt."""
    chance = np.random.default_rng(0)
    coefficients = chance.normal(size=n_models) + chance.normal(size=(n, n_models))
    eta = ETA.get(family, 0.3) + chance.normal(size=n)
    return HeadOutputs(coefficients, eta, np.zeros(n))


def ours(family: PreferenceFamily, outputs: HeadOutputs) -> tuple[Fitted, float]:
    """With a hundred blocks, as the command has them."""
    n = outputs.eta.size
    start = time.process_time()
    sums = BlockSums(family, outputs.coefficients.shape[1])
    sums.add(outputs, np.ones(n), np.random.default_rng(0).integers(0, 100, n))
    return fit_sums(family, sums.total()), time.process_time() - start


class Adam:
    """On the expected loss itself."""

    def __init__(self, family: PreferenceFamily, outputs: HeadOutputs) -> None:
        n_models = outputs.coefficients.shape[1]
        self._family = family
        self._a, self._b = torch.triu_indices(n_models, n_models, 1)
        self._coefficients = torch.from_numpy(outputs.coefficients).float()
        self._eta = torch.from_numpy(outputs.eta).float()
        self.parameters = torch.zeros(n_models + 1)
        self.parameters[-1] = self._eta.mean()
        self.parameters.requires_grad_(True)
        self._optimiser = torch.optim.Adam([self.parameters], lr=STEP_SIZE)

    def step(self) -> None:
        """Over all prompts, a part at a time, so that memory is bounded."""
        self._optimiser.zero_grad()
        for some in torch.arange(self._eta.numel()).split(BATCH):
            self._loss(some).backward()
        self._optimiser.step()

    def _loss(self, some: Tensor) -> Tensor:
        p, a, b, zero = self.parameters, self._a, self._b, torch.zeros(())
        theirs = self._coefficients[some]
        with torch.no_grad():
            eta = self._eta[some, None]
            target = log_probabilities(self._family, theirs[:, a], theirs[:, b], eta, zero).exp()
        logs = log_probabilities(self._family, p[a], p[b], p[-1], zero)
        return -(target * logs).sum(dim=-1).mean(dim=-1).sum() / self._eta.numel()


def compare(family: PreferenceFamily, n: int, n_models: int) -> None:
    """One line."""
    outputs = outputs_of(family, n, n_models)
    fitted, first = ours(family, outputs)
    rival, seconds, error = Adam(family, outputs), 0.0, np.inf
    n_steps = 0
    while error >= CLOSE and n_steps < N_STEPS:
        n_steps += 1
        start = time.process_time()
        rival.step()
        seconds += time.process_time() - start
        found = rival.parameters.detach().double().numpy()[:-1]
        level = found.mean() if family is not PreferenceFamily.GRK else 0.0
        error = float(np.abs(found - level - fitted.coefficients).max())
    fastest = min(first, ours(family, outputs)[1])
    print(f"{family}: {fastest:.2f} s against Adam's {seconds:.1f} s in {n_steps} steps, "
          f"{seconds / fastest:.0f}x; largest difference {error:.1e}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for family in (PreferenceFamily.BT, PreferenceFamily.GRK):
        compare(family, args.prompts, args.models)


if __name__ == "__main__":
    main()
