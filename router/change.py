"""The price of a change of model within a job, and what a change must gain.

A model that has answered a job before holds the beginning of its prompt in its provider's cache;
another model has to read all of it at the full price. That price is paid once, and spread over the
requests of the job that are still expected: with R of them, a model counts with the mean of its
costs, (first + R * warm) / (R + 1). `first` is what this request costs there, `warm` what a later
one does, which finds all of today's prompt in the cache. docs/theory.md, section 5, says more.

Where cost does not choose (there is no price of a win, and no budget that binds), the best model is
taken. Then a change away from the model that answered last must gain more than `min_gain`, and more
than one standard deviation of the gain. The leaderboard tells the latter only for models that were
added to a checkpoint later; for all others `min_gain` alone decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import numpy as np

from p2l_model.types import PromptLeaderboard
from router.candidates import Candidate
from router.cost import estimate
from router.hull import InfeasibleError, Mix, solve
from router.leaderboard_values import Standing
from router.objective import Objective
from router.request import RoutingRequest

_WHOLE: Final = Decimal(1)


def unless_little_gained(
    mix: Mix,
    pool: Sequence[Candidate],
    request: RoutingRequest,
    budget_usd: Decimal | None,
    leaderboard: PromptLeaderboard,
    known: Standing,
) -> Mix:
    """Returns the mix of the held model alone where the best one gains too little, else the mix
    itself. mix: the optimum over the pool within budget_usd; known: the leaderboard's values."""
    held = _held(pool, request)
    if held is None or request.usd_per_win is not None or len(mix.parts) > 1:
        return mix
    index, mine = held
    best = pool[mix.parts[0][0]]
    cost = mine.mean_cost_usd
    if best is mine or mix.shadow_price > 0.0:
        return mix
    if budget_usd is not None and (cost is None or cost > budget_usd):
        return mix
    gain = best.value - mine.value
    if gain > request.min_gain and gain > _deviation(best, mine, request, leaderboard, known):
        return mix
    spent = Decimal("Infinity") if cost is None else cost
    return Mix(((index, _WHOLE),), mine.value, spent, 0.0)


def cold_mix(
    pool: Sequence[Candidate], request: RoutingRequest, budget_usd: Decimal | None
) -> Mix | None:
    """The optimum if no provider held anything of the prompt yet; None where there is none within
    the budget."""
    costs = [_cold_usd(c, request) for c in pool]
    values = [c.value for c in pool]
    try:
        return solve(costs, values, budget_usd, request.usd_per_win)
    except InfeasibleError:
        return None


def _held(pool: Sequence[Candidate], request: RoutingRequest) -> tuple[int, Candidate] | None:
    name = request.held
    if name is None:
        return None
    return next(((k, c) for k, c in enumerate(pool) if c.card.name == name), None)


def _cold_usd(candidate: Candidate, request: RoutingRequest) -> Decimal:
    card, cost = candidate.card, candidate.mean_cost_usd
    if cost is None:
        return Decimal("Infinity")
    if request.cached_tokens.get(card.name, 0) == 0:
        return cost
    # The length that is expected already has everything in it but the caps, which hold anyway.
    cold = estimate(
        card,
        request.shape,
        candidate.expected_output_tokens,
        input_tokens=request.input_tokens.get(card.name),
        kept_s=request.caching.get(card.name, 0),
    )
    share = request.first_share
    mean = cold.cost_usd if share is None else cold.mean_usd(share)
    return cost if mean is None else mean


def _deviation(
    best: Candidate,
    mine: Candidate,
    request: RoutingRequest,
    leaderboard: PromptLeaderboard,
    known: Standing,
) -> float:
    """The standard deviation of the difference of two models' values; 0.0 where the leaderboard
    tells none."""
    if leaderboard.variance is None or request.objective is Objective.EXPECTED_SCORE:
        return 0.0
    names = [c.card.leaderboard_name for c in (best, mine)]
    variances = [float(leaderboard.variance[known.column[name]]) for name in names]
    if max(variances) <= 0.0:
        return 0.0
    slopes = [_slope(c, request, known) for c in (best, mine)]
    if names[0] == names[1]:
        # Two efforts of one model are wrong by the same amount.
        return math.sqrt(variances[0]) * abs(slopes[0] - slopes[1])
    pairs = zip(variances, slopes, strict=True)
    return math.sqrt(sum(variance * slope**2 for variance, slope in pairs))


def _slope(candidate: Candidate, request: RoutingRequest, known: Standing) -> float:
    """The change of the value with the coefficient."""
    if request.objective is Objective.P_GOOD:
        return candidate.value * (1.0 - candidate.value)
    opponents, weights = known.opponents
    rates = 0.5 * (1.0 + np.tanh(0.5 * (candidate.coefficient - opponents)))
    return float((rates * (1.0 - rates)) @ weights)
