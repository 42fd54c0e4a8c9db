"""Simulates a stream of prompts under a window budget: the shadow price adapts, the limit is
hard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from p2l_model.types import FloatArray
from router.pacing import PacingPlan, shadow_price, start, step
from server.offline.simulate.curves import envelope, pick, single_models
from server.offline.simulate.predict import Belief
from server.offline.simulate.table import ScoreTable

N_SEEDS: Final = 20
# Budgets, as shares of the way from the cheapest model's cost to the best single model's.
SHARES: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
_BISECTIONS: Final = 60


@dataclass(frozen=True, slots=True)
class StreamResult:
    """Means over the seeds, and their spread. utilisation: of the budget; refused: share of
    requests; score: of all requests, a refused one scoring 0. random_mix: the score of single
    models at the budget; clairvoyant: that of the single weight chosen in hindsight for the same
    predictions; regret: the score lost against it."""

    budget_usd: float
    cost_usd: float
    utilisation: float
    utilisation_min: float
    utilisation_max: float
    refused: float
    score: float
    score_sd: float
    random_mix: float
    clairvoyant: float
    regret: float

    def to_json(self) -> dict[str, Any]:
        """The entry for stream.json. Costs are per request."""
        return asdict(self)


def run_streams(
    table: ScoreTable, belief: Belief, seed: int = 0, n_seeds: int = N_SEEDS
) -> list[StreamResult]:
    """One result for each budget, over n_seeds orders of the prompts."""
    flat = np.ones(table.score.shape[0])
    cost, score = single_models(table).means(flat)
    low, high = float(cost.min()), float(cost[int(np.argmax(score))])
    return [
        _at_budget(table, belief, low + share * (high - low), range(seed, seed + n_seeds))
        for share in SHARES
        if high > low
    ]


def _at_budget(
    table: ScoreTable, belief: Belief, budget: float, seeds: Iterable[int]
) -> StreamResult:
    n = table.score.shape[0]
    runs = np.array([_run(table, belief, budget * n, seed) for seed in seeds])
    spent, score, refused = runs.T
    mix = envelope(*single_models(table).means(np.ones(n)))
    best = _clairvoyant(table, belief, budget)
    return StreamResult(
        budget_usd=budget,
        cost_usd=float(spent.mean()) / n,
        utilisation=float(spent.mean()) / (budget * n),
        utilisation_min=float(spent.min()) / (budget * n),
        utilisation_max=float(spent.max()) / (budget * n),
        refused=float(refused.mean()),
        score=float(score.mean()),
        score_sd=float(score.std()),
        random_mix=float(np.interp(budget, *mix)),
        clairvoyant=best,
        regret=best - float(score.mean()),
    )


def _run(
    table: ScoreTable, belief: Belief, amount_usd: float, seed: int
) -> tuple[float, float, float]:
    """Returns (USD spent, mean score, share refused) for one order of the prompts, evenly spread
    over one window. The real cost of an answer is known only when it is settled; a model whose
    answer would exceed the budget cannot be asked."""
    chance = np.random.default_rng(seed)
    order = chance.permutation(table.score.shape[0])
    plan, state = PacingPlan(amount_usd=amount_usd, window_s=1.0), start(0.0)
    spent = total = 0.0
    refused = 0
    for place, prompt in enumerate(order.tolist()):
        state = step(plan, state, place / order.size, spent)
        worth = belief.value[prompt] - shadow_price(plan, state) * belief.cost_usd[prompt]
        affordable = table.cost_usd[prompt] <= amount_usd - spent
        if not affordable.any():
            refused += 1
            continue
        chosen = int(np.argmax(np.where(affordable, worth, -np.inf)))
        spent += float(table.cost_usd[prompt, chosen])
        total += float(table.score[prompt, chosen])
    return spent, total / order.size, refused / order.size


def _clairvoyant(table: ScoreTable, belief: Belief, budget: float) -> float:
    """The score at the budget of the LP over the whole stream, mixing the two weights around it."""
    low, high = 0.0, 1e12
    for _ in range(_BISECTIONS):
        middle = np.sqrt(max(low, 1e-6) * high)
        over = _means(table, belief, middle)[0] > budget
        low, high = (middle, high) if over else (low, middle)
    (dear_cost, dear), (cheap_cost, cheap) = _means(table, belief, low), _means(table, belief, high)
    if dear_cost <= budget or dear_cost <= cheap_cost:
        return dear if dear_cost <= budget else cheap
    share = (budget - cheap_cost) / (dear_cost - cheap_cost)
    return cheap + min(1.0, max(0.0, share)) * (dear - cheap)


def _means(table: ScoreTable, belief: Belief, price: float) -> tuple[float, float]:
    rows, chosen = np.arange(table.score.shape[0]), pick(belief, price)
    cost: FloatArray = table.cost_usd[rows, chosen]
    return float(cost.mean()), float(table.score[rows, chosen].mean())
