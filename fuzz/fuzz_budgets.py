"""A million random hard-budget requests against the worst answers that their caps allow, and
window budgets over ten thousand requests with reservations: how often is a promise broken?

python fuzz/fuzz_budgets.py [--requests 1000000] [--seed 0]

A hard request's answer is as dear as it can be made: all input tokens up to the bound and all
output tokens up to the cap, of the dearest kinds, reasoning included. Every third request fails
over once, its first attempt billed in full.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter, deque
from dataclasses import replace
from decimal import Decimal

import numpy as np

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from router.choice import BudgetMode, Decision, RoutingRequest, decide
from router.cost import RequestShape, Usage, actual_cost_usd
from router.errors import BudgetInfeasibleError, NoEligibleModelError
from router.pacing import PacingPlan, fits, shadow_price, start, step

N_WORLDS = 400
World = tuple[PromptLeaderboard, tuple[ModelCard, ...]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(
        "| window | share of the budget spent | most in any window | refused |\n|---|---|---|---|"
    )
    for seed in range(5):
        print("| {} | {:.4%} | {:.4%} | {:.2%} |".format(seed, *window(seed)))
    chance = random.Random(args.seed)
    worlds = [world(chance) for _ in range(N_WORLDS)]
    counts: Counter[str] = Counter()
    started = time.process_time()
    for k in range(args.requests):
        counts[hard_request(*chance.choice(worlds), chance, fail=k % 3 == 0)] += 1
        if (k + 1) % 100_000 == 0:
            print(k + 1, dict(counts), file=sys.stderr, flush=True)
    print(f"\n{args.requests} hard requests in {time.process_time() - started:.0f} s of CPU time:")
    for what in ("kept", "refused", "BREACHED"):
        print(f"- {what}: {counts[what]}")


def price(chance: random.Random) -> Decimal:
    return Decimal(chance.randint(0, 10**6)) / 10 ** chance.randint(3, 6)


def world(chance: random.Random) -> World:
    names = [f"m{k}" for k in range(chance.randint(1, 5))]
    cards = [
        ModelCard(
            name=name,
            provider="p",
            upstream_model=name,
            leaderboard_name=name,
            prices=Prices(
                input_usd_per_mtok=price(chance),
                output_usd_per_mtok=price(chance),
                cached_input_usd_per_mtok=chance.choice([None, price(chance)]),
                cache_write_usd_per_mtok=chance.choice([None, price(chance)]),
                reasoning_usd_per_mtok=chance.choice([None, price(chance)]),
                audio_input_usd_per_mtok=chance.choice([None, price(chance)]),
                audio_output_usd_per_mtok=chance.choice([None, price(chance)]),
                request_usd=chance.choice([Decimal(0), Decimal("0.00001")]),
            ),
            context_window=chance.choice([None, 8000, 128000]),
            max_output_tokens=chance.choice([None, 100, 4096]),
        )
        for name in names
    ]
    numbers = np.random.default_rng(chance.randint(0, 10**9)).normal(size=len(names))
    return PromptLeaderboard(PreferenceFamily.BT, tuple(names), numbers), tuple(cards)


def hard_request(
    board: PromptLeaderboard, cards: tuple[ModelCard, ...], chance: random.Random, fail: bool
) -> str:
    budget = Decimal(chance.randint(1, 10**6)) / 10 ** chance.randint(5, 9)
    shape = RequestShape(
        input_tokens=chance.randint(1, 2000),
        input_tokens_upper_bound=chance.randint(2000, 8000),
        max_output_tokens=chance.choice([None, None, chance.randint(1, 5000)]),
        n=chance.choice([1, 1, 1, 3]),
    )
    request = RoutingRequest(shape=shape, budget_usd=budget, budget_mode=BudgetMode.HARD)
    spent = Decimal(0)
    for attempt in range(2 if fail else 1):
        try:
            decision = decide(board, cards, request, chance)
        except (BudgetInfeasibleError, NoEligibleModelError):
            return "refused" if attempt == 0 else "kept"
        spent += dearest(decision, shape, chance)
        if spent > budget:
            return "BREACHED"
        left = request.budget_usd or budget
        worst = decision.worst_case_cost_usd or Decimal(0)
        out = {**request.excluded, decision.model: "failed"}
        request = replace(request, budget_usd=left - worst, excluded=out)
    return "kept"


def dearest(decision: Decision, shape: RequestShape, chance: random.Random) -> Decimal:
    """The cost of the worst usage that an upstream which keeps to the cap can report."""
    cap = decision.max_output_tokens
    if cap is None:
        return Decimal("Infinity")
    prompt = shape.input_tokens_upper_bound * shape.n
    completion = cap * shape.n
    most = Decimal(0)
    for kind in ("cached_tokens", "cache_write_tokens", "audio_input_tokens", None):
        for out in ("reasoning_tokens", "audio_output_tokens", None):
            parts = {name: chance.choice([prompt, prompt // 2]) for name in [kind] if name}
            parts |= {name: chance.choice([completion, completion // 3]) for name in [out] if name}
            usage = Usage(prompt_tokens=prompt, completion_tokens=completion, **parts)
            most = max(most, actual_cost_usd(decision.card, usage) or Decimal(0))
    return most


def window(seed: int, n: int = 10_000) -> tuple[float, float, float]:
    """Two windows' worth of requests under a binding rolling budget, four under way at a time,
    the worst case (five times the mean) reserved: (share spent, most in any window, refused)."""
    chance = np.random.default_rng(seed)
    size = np.exp(0.7 * chance.normal(size=(2 * n, 1)))
    prices = np.sort(10 ** chance.uniform(-4.5, -2, 5))
    costs = prices * size
    values = 1 / (1 + np.exp(-(np.linspace(-1, 1, 5) + chance.normal(size=costs.shape))))
    times = np.sort(chance.uniform(0, 2.0, 2 * n))
    least, most = costs.min(axis=1).sum(), costs[np.arange(2 * n), values.argmax(axis=1)].sum()
    amount = Decimal(repr(float(least + 0.3 * (most - least)) / 2))
    plan, state = PacingPlan(amount_usd=float(amount), window_s=1.0), start(0.0)
    settled: deque[tuple[float, Decimal]] = deque()
    under_way: deque[tuple[Decimal, Decimal]] = deque()
    inside = reserved = peak = total = Decimal(0)
    refused = 0
    for k, now in enumerate(times.tolist()):
        while settled and settled[0][0] <= now - 1.0:
            inside -= settled.popleft()[1]
        if len(under_way) == 4:
            worst, cost = under_way.popleft()
            reserved -= worst
            inside, total = inside + cost, total + cost
            settled.append((now, cost))
        peak = max(peak, inside)
        state = step(plan, state, now, float(inside))
        worth = values[k] - shadow_price(plan, state) * costs[k]
        able = [m for m in range(5) if fits(amount, inside, reserved, exact(5 * costs[k, m]))]
        if not able:
            refused += 1
            continue
        chosen = max(able, key=lambda m: float(worth[m]))
        worst, cost = exact(5 * costs[k, chosen]), exact(costs[k, chosen])
        under_way.append((worst, cost))
        reserved += worst
    return float(total / amount / 2), float(peak / amount), refused / (2 * n)


def exact(amount: float) -> Decimal:
    return Decimal(repr(round(float(amount), 12)))


if __name__ == "__main__":
    main()
