"""Turns a leaderboard, a catalogue and a budget into a decision.

Eligibility is settled first; the linear program of Theorem 1 then chooses among the models left.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from p2l_model.types import PromptLeaderboard
from router.candidates import (
    Candidate,
    candidates,
    exhausted_window,
    full_context,
    infeasible_hard,
    is_over_kept_limit,
)
from router.catalog import ModelCard
from router.constrained import Optimum, SlowLane, constrained_optimum
from router.cost import worst_case_cost_usd
from router.decision import Alternative, Decision
from router.errors import BudgetInfeasibleError, NoEligibleModelError
from router.hull import InfeasibleError, Mix, solve
from router.leaderboard_values import Opponents, standing
from router.objective import Objective, router_coefficient
from router.request import BudgetMode, RoutingRequest

__all__ = ["Alternative", "BudgetMode", "Decision", "Objective", "RoutingRequest", "decide"]

_UNPRICED: Final = Decimal("Infinity")


def decide(
    leaderboard: PromptLeaderboard,
    catalogue: Sequence[ModelCard],
    request: RoutingRequest,
    rng: random.Random,
    slow_lane: SlowLane | None = None,
) -> Decision:
    """Chooses a model for one prompt.

    rng: `random()` is called exactly once, so that attempt k of a request uses draw k of its seed.
    slow_lane: solves requests with constraints; without one, or where it fails, the closed form
    solves as much as it can.

    Raises NoEligibleModelError, WindowExhaustedError, BudgetInfeasibleError,
    ConstraintsInfeasibleError, InvalidRoutingError.
    """
    draw = rng.random()
    known = standing(leaderboard, request.opponents, request.objective)
    found = candidates(known, catalogue, request)
    pool = sorted([c for c in found if c.reason is None], key=_name)
    if not pool:
        raise _nobody(found, request)
    optimum = _optimum(pool, request, slow_lane)
    return _decision(found, pool, optimum, request, known.opponents, draw)


def _name(candidate: Candidate) -> str:
    return candidate.card.name


def _nobody(found: Sequence[Candidate], request: RoutingRequest) -> Exception:
    told = (
        infeasible_hard(found, request)
        or exhausted_window(found, request)
        or full_context(found, request)
    )
    return told or NoEligibleModelError({c.card.name: c.reason or "" for c in found})


def _optimum(
    pool: Sequence[Candidate], request: RoutingRequest, slow_lane: SlowLane | None
) -> Optimum:
    """In hard mode this is the single best model whose worst case fits (docs/theory.md, section
    5)."""
    hard = request.budget_mode is BudgetMode.HARD
    # Without a budget a model of unknown price may be chosen, but among equals it counts as the
    # most expensive.
    costs = [_UNPRICED if c.expected_cost_usd is None else c.expected_cost_usd for c in pool]
    values = [c.value for c in pool]
    budget = None if hard else request.budget_usd
    try:
        if request.constraints is not None:
            return constrained_optimum(pool, request, request.constraints, slow_lane)
        return Optimum(solve(costs, values, budget, request.usd_per_win))
    except InfeasibleError as error:
        card, cheapest = pool[error.cheapest].card, costs[error.cheapest]
        limit = Decimal(0) if budget is None else budget
        raise BudgetInfeasibleError(card.name, cheapest, limit, "an expected cost") from error


def _kept(pool: Sequence[Candidate], request: RoutingRequest) -> Candidate | None:
    if request.kept is None:
        return None
    kept = next((c for c in pool if c.card.name == request.kept), None)
    return None if kept is None or is_over_kept_limit(kept, request) else kept


def _drawn(pool: Sequence[Candidate], mix: Mix, request: RoutingRequest, draw: float) -> Candidate:
    """Returns the model whose share of [0, 1) contains the draw."""
    parts = [(pool[index], share) for index, share in mix.parts]
    if len(parts) > 1 and request.order:
        place = {name: k for k, name in enumerate(request.order)}
        parts.sort(key=lambda part: place.get(part[0].card.name, len(place)))
    point, reached = Decimal(draw), Decimal(0)
    for candidate, share in parts:
        reached += share
        if point < reached:
            return candidate
    return parts[-1][0]


def _decision(
    found: Sequence[Candidate],
    pool: Sequence[Candidate],
    optimum: Optimum,
    request: RoutingRequest,
    opponents: Opponents,
    draw: float,
) -> Decision:
    mix = optimum.mix
    kept = _kept(pool, request)
    chosen = _drawn(pool, mix, request, draw) if kept is None else kept
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
        is_kept=kept is not None,
        candidates=found,
        solve_coefficient=lambda: _coefficient(parts, rate, opponents),
    )


def _coefficient(
    parts: Sequence[tuple[Candidate, float]], rate: float, opponents: Opponents
) -> float:
    """The coefficient of the mix; for a mix of one model it is that model's own."""
    if len(parts) == 1:
        return parts[0][0].coefficient
    start = sum(share * c.coefficient for c, share in parts)
    return router_coefficient(rate, *opponents, start=start)
