"""A leaderboard, a catalogue and a budget become a decision: eligibility first, then Theorem 1."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from p2l_model.types import FloatArray, PromptLeaderboard
from router.catalog import ModelCard
from router.cost import largest_output_cap, worst_case_cost_usd
from router.decision import Alternative, BudgetMode, Decision
from router.eligibility import Candidate, RoutingRequest, candidates, infeasible_hard
from router.errors import BudgetInfeasibleError, NoEligibleModelError
from router.explain import explain
from router.lp import InfeasibleError, Mix, solve
from router.objective import opponent_weights, router_coefficient, win_rates

__all__ = ["Alternative", "BudgetMode", "Decision", "RoutingRequest", "decide"]


@dataclass(frozen=True, slots=True)
class _Choice:
    """The optimum in the router's terms: mix over candidates, the one drawn, hard mode's cap."""

    mix: Mix
    drawn: int
    output_cap: int | None = None


def decide(
    leaderboard: PromptLeaderboard,
    catalogue: Sequence[ModelCard],
    request: RoutingRequest,
    rng: random.Random,
) -> Decision:
    """Chooses a model for one prompt.

    rng: its next `random()` is the draw from the mix, so a seed makes the decision repeatable.
    Raises NoEligibleModelError, BudgetInfeasibleError, InvalidRoutingError.
    """
    opponents, weights = opponent_weights(
        leaderboard.models, leaderboard.coefficients, request.opponents
    )
    found = candidates(leaderboard, catalogue, request)
    coefficients = np.array([c.coefficient for c in found], dtype=np.float64)
    known = np.isfinite(coefficients)
    rates = np.full(len(found), np.nan)
    rates[known] = win_rates(coefficients[known], opponents, weights)
    eligible = sorted(
        (k for k, c in enumerate(found) if c.reason is None), key=lambda k: found[k].card.name
    )
    if not eligible:
        raise infeasible_hard(found, request) or NoEligibleModelError(
            {c.card.name: c.reason or "" for c in found}
        )
    pool = [found[k] for k in eligible]
    choice = _choose(pool, rates[eligible], request, rng)
    coefficient = router_coefficient(choice.mix.value, opponents, weights)
    return _decision(pool, rates[eligible], choice, request, coefficient, _table(found, rates))


def _choose(
    pool: Sequence[Candidate], rates: FloatArray, request: RoutingRequest, rng: random.Random
) -> _Choice:
    if request.budget_usd is not None and request.budget_mode is BudgetMode.HARD:
        return _hard(pool, rates, request, request.budget_usd)
    costs = [c.expected_cost_usd for c in pool]
    # Without a budget a model of unknown price may be chosen: among equals it counts as dearest.
    priced = [Decimal("Infinity") if cost is None else cost for cost in costs]
    try:
        mix = solve(priced, rates, request.budget_usd)
    except InfeasibleError as error:
        card = pool[error.cheapest].card
        cheapest, budget = priced[error.cheapest], request.budget_usd or Decimal(0)
        kind = "an expected cost"
        raise BudgetInfeasibleError(card.name, cheapest, budget, kind) from error
    return _Choice(mix, _draw(mix, rng))


def _hard(
    pool: Sequence[Candidate], rates: FloatArray, request: RoutingRequest, budget_usd: Decimal
) -> _Choice:
    """The best of those whose worst case fits (theory, section 5): nothing is drawn."""
    costs = [c.expected_cost_usd or Decimal(0) for c in pool]
    mix = solve(costs, rates, None)
    chosen = mix.parts[0][0]
    cap = largest_output_cap(pool[chosen].card, request.shape, budget_usd)
    return _Choice(mix, chosen, cap)


def _draw(mix: Mix, rng: random.Random) -> int:
    point = Decimal(rng.random())
    first, share = mix.parts[0]
    return first if point < share else mix.parts[-1][0]


def _decision(
    pool: Sequence[Candidate],
    rates: FloatArray,
    choice: _Choice,
    request: RoutingRequest,
    coefficient: float,
    alternatives: tuple[Alternative, ...],
) -> Decision:
    chosen, mix = pool[choice.drawn], choice.mix
    worst = None
    if choice.output_cap is not None:
        worst = worst_case_cost_usd(chosen.card, request.shape, choice.output_cap)
    shares = {pool[k].card.name: float(share) for k, share in mix.parts}
    unpriced = any(pool[k].expected_cost_usd is None for k, _ in mix.parts)
    decision = Decision(
        model=chosen.card.name,
        card=chosen.card,
        mix=shares,
        win_rate=float(rates[choice.drawn]),
        expected_cost_usd=chosen.expected_cost_usd,
        mix_win_rate=mix.value,
        mix_expected_cost_usd=None if unpriced else mix.cost_usd,
        coefficient=coefficient,
        shadow_price=mix.shadow_price,
        budget_usd=request.budget_usd,
        budget_mode=request.budget_mode,
        max_output_tokens=choice.output_cap,
        worst_case_cost_usd=worst,
        alternatives=alternatives,
        explanation="",
    )
    return explain(decision)


def _table(found: Sequence[Candidate], rates: FloatArray) -> tuple[Alternative, ...]:
    """All candidates, best first; those without a win rate last."""
    rows = [candidate.row(rate) for candidate, rate in zip(found, rates.tolist(), strict=True)]
    return tuple(sorted(rows, key=_best_first))


def _best_first(row: Alternative) -> tuple[float, str]:
    return (1.0 if row.win_rate is None else -row.win_rate, row.model)
