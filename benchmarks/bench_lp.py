"""Microseconds per decision: the closed form beside cvxpy, interleaved, CPU time.

python benchmarks/bench_lp.py
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from decimal import Decimal

import cvxpy
import numpy as np

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from router.choice import RoutingRequest, decide
from router.cost import RequestShape
from router.hull import solve
from router.objective import win_rates

SIZES = (5, 20, 50, 150, 1000)
ROUNDS = 7


def microseconds(call: Callable[[], object], repeat: int) -> float:
    started = time.process_time()
    for _ in range(repeat):
        call()
    return (time.process_time() - started) / repeat * 1e6


def parametrised(size: int) -> Callable[[np.ndarray, np.ndarray, float], None]:
    """A cvxpy problem compiled once; only its parameters change."""
    share = cvxpy.Variable(size, nonneg=True)
    value, cost = cvxpy.Parameter(size), cvxpy.Parameter(size, nonneg=True)
    budget = cvxpy.Parameter(nonneg=True)
    problem = cvxpy.Problem(
        cvxpy.Maximize(value @ share), [cvxpy.sum(share) == 1, cost @ share <= budget]
    )

    def run(values: np.ndarray, costs: np.ndarray, limit: float) -> None:
        value.value, cost.value, budget.value = values, costs, limit
        problem.solve(solver=cvxpy.CLARABEL)

    return run


def row(size: int) -> str:
    chance = np.random.default_rng(size)
    theta = chance.normal(size=size)
    costs = [Decimal(int(c)) / 10**6 for c in chance.integers(1, 10**5, size)]
    budget = sorted(costs)[size // 2]
    q = np.full(size, 1 / size)
    values = win_rates(theta, theta, q)
    cards = [
        ModelCard(
            name=f"m{k}",
            provider="p",
            upstream_model="m",
            leaderboard_name=f"m{k}",
            prices=Prices(input_usd_per_mtok=c * 1000, output_usd_per_mtok=c * 1000),
        )
        for k, c in enumerate(costs)
    ]
    board = PromptLeaderboard(PreferenceFamily.BT, tuple(c.name for c in cards), theta)
    shape = RequestShape(input_tokens=700, input_tokens_upper_bound=3000)
    request = RoutingRequest(shape=shape, budget_usd=budget)
    solver = parametrised(size)
    scaled = np.array([float(c) for c in costs])
    calls: list[tuple[Callable[[], object], int]] = [
        (lambda: solve(costs, values, budget), 300),
        (lambda: win_rates(theta, theta, q), 300),
        (lambda: decide(board, cards, request, random.Random(0)), 100),
        (lambda: solver(values, scaled, float(budget)), 10),
    ]
    rounds = [[microseconds(call, repeat) for call, repeat in calls] for _ in range(ROUNDS)]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    ratio = medians[3] / medians[0]
    return f"| {size} | {ratio:.0f} | " + " | ".join(f"{m:.0f}" for m in medians) + " |"


def main() -> None:
    print("| models | cvxpy / solve | solve | W*q | decide (all) | cvxpy, compiled once |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        print(row(size))


if __name__ == "__main__":
    main()
