"""Turns a leaderboard, a catalogue and a budget into a decision.

Eligibility is settled first; the linear program of Theorem 1 then chooses among the models left.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from operator import attrgetter
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
from router.change import cold_mix, unless_little_gained
from router.constrained import Optimum, SlowLane, constrained_optimum
from router.constraints import Constraints
from router.cost import worst_case_cost_usd
from router.decision import Alternative, Decision
from router.errors import BudgetInfeasibleError, ConstraintsInfeasibleError, NoEligibleModelError
from router.hull import InfeasibleError, Mix, solve
from router.leaderboard_values import Opponents, Standing, standing
from router.objective import Objective, router_coefficient
from router.request import BudgetMode, RoutingRequest

__all__ = ["Alternative", "BudgetMode", "Decision", "Objective", "RoutingRequest", "decide"]

_UNPRICED: Final = Decimal("Infinity")
_NAME: Final = attrgetter("card.name")


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
    pool = sorted([c for c in found if c.reason is None], key=_NAME)
    if not pool:
        raise _nobody(found, request)
    try:
        optimum = _optimum(pool, request, slow_lane, leaderboard, known)
    except InfeasibleError as error:
        raise _too_dear(pool[error.cheapest], request) from error
    return _decision(found, pool, optimum, request, known.opponents, draw)


def _nobody(found: Sequence[Candidate], request: RoutingRequest) -> Exception:
    # The amount that is left is known only where a model fits the request's own limits.
    told = (
        exhausted_window(found, request)
        or infeasible_hard(found, request)
        or full_context(found, request)
    )
    return told or NoEligibleModelError({c.card.name: c.reason or "" for c in found})


def _optimum(
    pool: Sequence[Candidate],
    request: RoutingRequest,
    slow_lane: SlowLane | None,
    leaderboard: PromptLeaderboard,
    known: Standing,
) -> Optimum:
    """In hard mode this is the single best model whose worst case fits (docs/theory.md, section
    5). Raises InfeasibleError."""
    # Without a budget a model of unknown price may be chosen, but among equals it counts as the
    # most expensive.
    costs = [_UNPRICED if c.mean_cost_usd is None else c.mean_cost_usd for c in pool]
    budget = _draw_budget(pool, costs, request)
    if request.constraints is not None:
        return _constrained(pool, request, request.constraints, budget, slow_lane)
    mix = solve(costs, [c.value for c in pool], budget, request.usd_per_win)
    if request.held is None:
        return Optimum(mix, budget_usd=budget)
    final = unless_little_gained(mix, pool, request, budget, leaderboard, known)
    return Optimum(final, budget_usd=budget, is_held=final is not mix)


def _draw_budget(
    pool: Sequence[Candidate], costs: Sequence[Decimal], request: RoutingRequest
) -> Decimal | None:
    """The budget of the mix. costs: those by which models are chosen. Raises InfeasibleError where
    this request alone is too expensive at every model."""
    budget, draw = request.budget_usd, request.draw_budget_usd
    if budget is None or request.budget_mode is BudgetMode.HARD:
        return None
    if request.has_later:
        firsts = [_first_usd(c) for c in pool]
        cheapest = min(range(len(firsts)), key=firsts.__getitem__)
        if firsts[cheapest] > budget:
            raise InfeasibleError(cheapest)
    return budget if draw is None or draw >= budget else min(budget, max(draw, min(costs)))


def _first_usd(candidate: Candidate) -> Decimal:
    cost = candidate.expected_cost_usd
    return _UNPRICED if cost is None else cost


def _too_dear(cheapest: Candidate, request: RoutingRequest) -> BudgetInfeasibleError:
    limit = Decimal(0) if request.budget_usd is None else request.budget_usd
    return BudgetInfeasibleError(
        cheapest.card.name, _first_usd(cheapest), limit, "an expected cost"
    )


def _constrained(
    pool: Sequence[Candidate],
    request: RoutingRequest,
    constraints: Constraints,
    budget: Decimal | None,
    slow_lane: SlowLane | None,
) -> Optimum:
    try:
        return constrained_optimum(pool, request, constraints, budget, slow_lane)
    except ConstraintsInfeasibleError:
        if budget == request.budget_usd:
            raise
        # What the account has lowered must not refuse a request.
        return constrained_optimum(pool, request, constraints, request.budget_usd, slow_lane)


def _kept(pool: Sequence[Candidate], request: RoutingRequest) -> Candidate | None:
    if request.kept is None:
        return None
    kept = next((c for c in pool if c.card.name == request.kept), None)
    return None if kept is None or is_over_kept_limit(kept, request) else kept


def _drawn(pool: Sequence[Candidate], mix: Mix, request: RoutingRequest, draw: float) -> Candidate:
    """Returns the model whose share of [0, 1) contains the draw."""
    if len(mix.parts) == 1:
        return pool[mix.parts[0][0]]
    parts = [(pool[index], share) for index, share in mix.parts]
    if request.order:
        place = {name: k for k, name in enumerate(request.order)}
        parts.sort(key=lambda part: place.get(part[0].card.name, len(place)))
    point, reached = Decimal(draw), Decimal(0)
    for candidate, share in parts:
        reached += share
        if point < reached:
            return candidate
    return parts[-1][0]


def _is_held(
    chosen: Candidate,
    pool: Sequence[Candidate],
    optimum: Optimum,
    request: RoutingRequest,
    draw: float,
) -> bool:
    """Whether the model that answered last was chosen for no other reason than that: another one
    would gain too little, or would be drawn if nobody held the prompt in a cache."""
    name = chosen.card.name
    if name != request.held or optimum.is_held or request.constraints is not None:
        return optimum.is_held
    if request.cached_tokens.get(name, 0) == 0 or not _cost_chooses(chosen, pool, request):
        return False
    cold = cold_mix(pool, request, optimum.budget_usd)
    return cold is None or _drawn(pool, cold, request, draw) is not chosen


def _cost_chooses(chosen: Candidate, pool: Sequence[Candidate], request: RoutingRequest) -> bool:
    if request.usd_per_win is not None:
        return True
    if request.budget_usd is not None and request.budget_mode is not BudgetMode.HARD:
        return True
    return sum(c.value == chosen.value for c in pool) > 1


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
    mix_usd = None if unpriced else mix.cost_usd
    if mix_usd is not None and request.has_later:
        mix_usd = sum((share * _first_usd(pool[k]) for k, share in mix.parts), Decimal(0))
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
        mix_expected_cost_usd=mix_usd,
        mix_mean_cost_usd=None if unpriced else mix.cost_usd,
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
        is_held=kept is None and _is_held(chosen, pool, optimum, request, draw),
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
