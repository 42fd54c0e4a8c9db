"""A leaderboard, a catalogue and a budget become a decision: eligibility first, then Theorem 1."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import numpy as np

from p2l_model.types import FloatArray, PromptLeaderboard
from router.catalog import ModelCard
from router.constrained import Optimum, SlowLane, constrained_optimum
from router.cost import worst_case_cost_usd
from router.decision import Alternative, Decision
from router.eligibility import (
    Candidate,
    candidates,
    exhausted_window,
    infeasible_hard,
)
from router.errors import BudgetInfeasibleError, NoEligibleModelError
from router.lp import InfeasibleError, Mix, solve
from router.objective import (
    Objective,
    objective_values,
    opponent_weights,
    router_coefficient,
    win_rates,
)
from router.request import BudgetMode, RoutingRequest

__all__ = ["Alternative", "BudgetMode", "Decision", "Objective", "RoutingRequest", "decide"]

_UNPRICED: Final = Decimal("Infinity")


class _Opponents(NamedTuple):
    """coefficients (K,), weights (K,) that sum to 1."""

    coefficients: FloatArray
    weights: FloatArray


def decide(
    leaderboard: PromptLeaderboard,
    catalogue: Sequence[ModelCard],
    request: RoutingRequest,
    rng: random.Random,
    slow_lane: SlowLane | None = None,
) -> Decision:
    """Chooses a model for one prompt.

    rng: exactly one `random()` of it is taken, so that the k-th attempt of a request is decided by
    the k-th draw of its seed. slow_lane: solves requests with constraints; where there is none, or
    it fails, the closed form does what it can. Raises NoEligibleModelError, WindowExhaustedError,
    BudgetInfeasibleError, ConstraintsInfeasibleError, InvalidRoutingError.
    """
    draw = rng.random()
    opponents = _Opponents(
        *opponent_weights(leaderboard.models, leaderboard.coefficients, request.opponents)
    )
    rates = _win_rates(leaderboard, opponents)
    values = objective_values(request.objective, leaderboard, rates)
    found = candidates(leaderboard, catalogue, request, rates, values)
    pool = sorted([c for c in found if c.reason is None], key=_name)
    if not pool:
        raise _nobody(found, request)
    optimum = _optimum(pool, request, slow_lane)
    return _decision(found, pool, optimum, request, opponents, draw)


def _win_rates(leaderboard: PromptLeaderboard, opponents: _Opponents) -> FloatArray:
    """(M,) W* q of all models of the leaderboard, NaN where there is no coefficient."""
    coefficients = leaderboard.coefficients
    if opponents.coefficients.size == coefficients.size:
        # every model is its own opponent: one array, so that its panels are made once
        coefficients = opponents.coefficients
        return win_rates(coefficients, coefficients, opponents.weights)
    known = np.isfinite(coefficients)
    rates = np.full(coefficients.size, np.nan)
    rates[known] = win_rates(coefficients[known], *opponents)
    return rates


def _name(candidate: Candidate) -> str:
    return candidate.card.name


def _nobody(found: Sequence[Candidate], request: RoutingRequest) -> Exception:
    told = infeasible_hard(found, request) or exhausted_window(found, request)
    return told or NoEligibleModelError({c.card.name: c.reason or "" for c in found})


def _optimum(
    pool: Sequence[Candidate], request: RoutingRequest, slow_lane: SlowLane | None
) -> Optimum:
    """Hard mode takes the best of those whose worst case fits (theory, section 5): no mix."""
    hard = request.budget_mode is BudgetMode.HARD
    # Without a budget a model of unknown price may be chosen: among equals it counts as dearest.
    costs = [_UNPRICED if c.expected_cost_usd is None else c.expected_cost_usd for c in pool]
    values = np.array([c.value for c in pool])
    budget = None if hard else request.budget_usd
    try:
        if request.constraints is not None:
            return constrained_optimum(pool, request, request.constraints, slow_lane)
        return Optimum(solve(costs, values, budget, request.usd_per_win))
    except InfeasibleError as error:
        card, cheapest = pool[error.cheapest].card, costs[error.cheapest]
        limit = Decimal(0) if budget is None else budget
        raise BudgetInfeasibleError(card.name, cheapest, limit, "an expected cost") from error


def _drawn(mix: Mix, draw: float) -> int:
    """The index whose share of [0, 1) holds the draw."""
    point, reached = Decimal(draw), Decimal(0)
    for index, share in mix.parts:
        reached += share
        if point < reached:
            return index
    return mix.parts[-1][0]


def _decision(
    found: Sequence[Candidate],
    pool: Sequence[Candidate],
    optimum: Optimum,
    request: RoutingRequest,
    opponents: _Opponents,
    draw: float,
) -> Decision:
    mix = optimum.mix
    chosen = pool[_drawn(mix, draw)]
    cap = chosen.output_cap
    worst = None if cap is None else worst_case_cost_usd(chosen.card, request.shape, cap)
    parts = [(pool[k], float(share)) for k, share in mix.parts]
    rate = sum(share * c.win_rate for c, share in parts)
    unpriced = any(c.expected_cost_usd is None for c, _ in parts)
    return Decision(
        request=request,
        model=chosen.card.name,
        card=chosen.card,
        mix={c.card.name: share for c, share in parts},
        objective=request.objective,
        value=chosen.value,
        mix_value=mix.value,
        win_rate=chosen.win_rate,
        mix_win_rate=rate,
        expected_cost_usd=chosen.expected_cost_usd,
        mix_expected_cost_usd=None if unpriced else mix.cost_usd,
        shadow_price=mix.shadow_price,
        usd_per_win=request.usd_per_win,
        budget_usd=request.budget_usd,
        budget_mode=request.budget_mode,
        max_output_tokens=cap,
        worst_case_cost_usd=worst,
        draw=draw,
        lane=optimum.lane,
        lane_note=optimum.note,
        tabulate=lambda: _table(found),
        solve_coefficient=lambda: _coefficient(parts, rate, opponents),
    )


def _coefficient(
    parts: Sequence[tuple[Candidate, float]], rate: float, opponents: _Opponents
) -> float:
    """That of a single model is its own."""
    if len(parts) == 1:
        return parts[0][0].coefficient
    start = sum(share * c.coefficient for c, share in parts)
    return router_coefficient(rate, *opponents, start=start)


def _table(found: Sequence[Candidate]) -> tuple[Alternative, ...]:
    """All candidates, best first; those without a value last."""
    return tuple(sorted([_row(c) for c in found], key=_rank))


def _rank(row: Alternative) -> tuple[float, str]:
    return (1.0 if row.value is None else -row.value, row.model)


def _row(candidate: Candidate) -> Alternative:
    """Made for each of them in each request."""
    known = math.isfinite
    return Alternative(
        model=candidate.card.name,
        coefficient=candidate.coefficient if known(candidate.coefficient) else None,
        win_rate=candidate.win_rate if known(candidate.win_rate) else None,
        value=candidate.value if known(candidate.value) else None,
        expected_output_tokens=candidate.expected_output_tokens,
        expected_cost_usd=candidate.expected_cost_usd,
        eligible=candidate.reason is None,
        reason=candidate.reason,
    )
