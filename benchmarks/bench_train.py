"""Training throughput: votes per second, and the share of the time that matrix products need.

python benchmarks/bench_train.py [--prompts 4000] [--votes 5] [--models 60]

Two stages on made votes: a trunk with its heads (float32, as the bundled checkpoint is trained) and
linear heads (float64, L-BFGS). The bound of each: the same number of bare matrix products of its
sizes, forward and backward, in the same run, turn by turn. The stage before both, the features
of the prompts, is measured by model_service.py. CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.fitting.config import TrunkConfig
from p2l_model.fitting.hidden_layer import Epoch, TrunkFit
from p2l_model.fitting.linear import FitOptions, HeadFit, heads_from_rows
from p2l_model.types import Conversation, PreferenceFamily

FAMILY = PreferenceFamily.GRK
WIDTH = 4 * 384  # four layers of MiniLM
ROUNDS, STEPS = 5, 20


def made_votes(n_prompts: int, per_prompt: int, n_models: int) -> VoteTable:
    """Votes of no meaning: their sizes are what counts."""
    chance = np.random.default_rng(0)
    n = n_prompts * per_prompt
    first = chance.integers(0, n_models, n)
    nothing = np.full(n, np.nan)
    return VoteTable(
        conversations=tuple(Conversation((str(k),)) for k in range(n_prompts)),
        models=tuple(f"model-{k}" for k in range(n_models)),
        prompt=np.repeat(np.arange(n_prompts), per_prompt),
        model_a=first,
        model_b=(first + chance.integers(1, n_models, n)) % n_models,
        outcome=chance.integers(0, 3, n),
        p_model_a=nothing,
        weight=np.ones(n),
        source=np.full(n, "made"),
        category=np.full(n, ""),
        output_tokens_a=nothing,
        output_tokens_b=nothing,
        score_a=nothing,
        score_b=nothing,
    )


def timed(work: Callable[[], Any]) -> float:
    """CPU seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def trunk(features: np.ndarray[Any, Any], votes: VoteTable) -> tuple[list[float], list[float]]:
    """Seconds of an epoch, and of its bare products."""
    config = TrunkConfig(hidden=192, epochs=ROUNDS + 1, input_dropout=0.3, dropout=0.3)
    rows = len(votes.models) + 2
    marginal = heads_from_rows(FAMILY, np.zeros((rows, WIDTH)), np.zeros(rows))
    x = torch.from_numpy(features).float()
    products = [
        *_products(x, (WIDTH, config.hidden), config.batch_prompts, of_input=False),
        *_products(x, (config.hidden, rows), config.batch_prompts, of_input=True),
    ]
    epochs, bounds = [], []
    last = time.process_time()

    def judge(_: Heads) -> float:
        return 0.0

    def on_epoch(_: Epoch) -> None:
        nonlocal last
        epochs.append(time.process_time() - last)
        bounds.append(timed(lambda: [product() for product in products]))
        last = time.process_time()

    TrunkFit(features, votes, FAMILY, config, marginal, None).run(0, judge, on_epoch)
    return epochs[1:], bounds[1:]


class _Counted(HeadFit):
    evaluations = 0

    def _objective(self, parameters: torch.Tensor) -> torch.Tensor:
        self.evaluations += torch.is_grad_enabled()
        return super()._objective(parameters)


def linear(features: np.ndarray[Any, Any], votes: VoteTable) -> tuple[list[float], list[float]]:
    """Seconds of an evaluation with its gradient, and of its bare products."""
    fit = _Counted(features, votes, FitOptions(FAMILY, 1e-4, 1e-5, STEPS * (ROUNDS + 1), 0.0))
    state = fit.start()
    rows = len(votes.models) + 2
    products = _products(torch.from_numpy(features), (WIDTH, rows), len(features), of_input=False)
    steps, bounds = [], []
    for _ in range(ROUNDS + 1):
        before = fit.evaluations
        seconds = timed(lambda: fit.run(state, STEPS))
        steps.append(seconds / (fit.evaluations - before))
        bounds.append(timed(lambda: [product() for product in products]))
    return steps[1:], bounds[1:]


def _products(
    like: torch.Tensor, weight: tuple[int, int], batch: int, *, of_input: bool
) -> list[Callable[[], torch.Tensor]]:
    """Those of a linear layer for all rows of `like`: the output, the weight's gradient and, where
    it has one, the input's."""
    n_inputs, n_outputs = weight
    made = like.new_ones
    matrix = made(n_inputs, n_outputs)
    found: list[Callable[[], torch.Tensor]] = []
    for start in range(0, len(like), batch):
        n = min(batch, len(like) - start)
        x, gradient = made(n, n_inputs), made(n, n_outputs)
        found.append(lambda x=x: x @ matrix)  # type: ignore[misc]
        found.append(lambda x=x, g=gradient: x.T @ g)  # type: ignore[misc]
        if of_input:
            found.append(lambda g=gradient: g @ matrix.T)  # type: ignore[misc]
    return found


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--prompts", type=int, default=4000)
    parser.add_argument("--votes", type=int, default=5, help="on each prompt")
    parser.add_argument("--models", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    votes = made_votes(args.prompts, args.votes, args.models)
    features = np.random.default_rng(1).normal(size=(args.prompts, WIDTH))
    print("| stage | votes/s | % of the bound | pass over the votes, ms | bare products, ms |")
    print("|---|---|---|---|---|")
    for name, stage in (("trunk and heads, an epoch", trunk), ("linear heads, a step", linear)):
        seconds, bounds = stage(features, votes)
        took, bound = statistics.median(seconds), statistics.median(bounds)
        share = statistics.median(b / s for s, b in zip(seconds, bounds, strict=True))
        rate = len(votes) / took
        print(f"| {name} | {rate:,.0f} | {share:.0%} | {1e3 * took:.0f} | {1e3 * bound:.0f} |",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
