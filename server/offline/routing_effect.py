"""Measures how another way to compute leaderboards changes them, and the decisions based on
them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from p2l_model.types import FloatArray, PromptLeaderboard
from router.catalog import ModelCard
from router.cost import RequestShape, expected_cost_usd
from router.hull import InfeasibleError, solve
from router.objective import opponent_weights, win_rates

# Budgets, as shares of the way from the cheapest to the most expensive model's cost, on a log
# scale.
_BUDGETS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, slots=True)
class RoutingEffect:
    """The effect on leaderboards and decisions.

    coefficient_error_*: absolute errors over prompts and models; coefficient_spread: the standard
    deviation over models, for comparison. Decisions are made without a budget among all models of
    the leaderboard, and under five budgets among the priced ones. changed: the share of decisions
    that differ, where both draw from their mixes with the same random number. regret_*: by how much
    the expected win rate is lower, judged by the exact leaderboard.
    """

    n_prompts: int
    n_decisions: int
    coefficient_error_mean: float
    coefficient_error_p99: float
    coefficient_error_max: float
    coefficient_spread: float
    changed: float
    regret_mean: float
    regret_max: float

    def json(self) -> dict[str, Any]:
        """The effect in the form in which it is printed and stored."""
        return asdict(self)


def routing_effect(
    exact: Sequence[PromptLeaderboard],
    other: Sequence[PromptLeaderboard],
    n_tokens: Sequence[int],
    catalogue: Sequence[ModelCard],
) -> RoutingEffect:
    """The effect. exact, other: leaderboards of the same prompts. n_tokens: the length of each
    prompt, for costs."""
    errors = np.stack(
        [np.abs(a.coefficients - b.coefficients) for a, b in zip(exact, other, strict=True)]
    )
    pairs = [
        pair
        for true, found, tokens in zip(exact, other, n_tokens, strict=True)
        for pair in _decisions(true, found, tokens, catalogue)
    ]
    changed, regrets = (np.array(column) for column in zip(*pairs, strict=True))
    return RoutingEffect(
        n_prompts=len(exact),
        n_decisions=len(pairs),
        coefficient_error_mean=float(errors.mean()),
        coefficient_error_p99=float(np.quantile(errors, 0.99)),
        coefficient_error_max=float(errors.max()),
        coefficient_spread=float(np.mean([board.coefficients.std() for board in exact])),
        changed=float(changed.mean()),
        regret_mean=float(regrets.mean()),
        regret_max=float(regrets.max()),
    )


def _decisions(
    true: PromptLeaderboard, found: PromptLeaderboard, tokens: int, catalogue: Sequence[ModelCard]
) -> Iterator[tuple[float, float]]:
    """For each decision on one prompt: (the share of the mix that differs, regret)."""
    rates, others = _rates(true), _rates(found)
    free = [Decimal(0)] * len(rates)
    yield _compared(_mix(free, rates, None), _mix(free, others, None), rates)
    column = {name: index for index, name in enumerate(true.models)}
    cards = [c for c in catalogue if c.leaderboard_name in column and c.prices is not None]
    if len(cards) < 2:
        return
    rows = [column[card.leaderboard_name] for card in cards]
    costs, others_costs = _costs(true, cards, rows, tokens), _costs(found, cards, rows, tokens)
    for budget in _budgets(costs):
        right = _mix(costs, rates[rows], budget)
        ours = _mix(others_costs, others[rows], budget)
        yield _compared(right, ours, rates[rows])


def _rates(board: PromptLeaderboard) -> FloatArray:
    opponents, weights = opponent_weights(board.models, board.coefficients, None)
    return win_rates(board.coefficients, opponents, weights)


def _mix(costs: Sequence[Decimal], rates: FloatArray, budget: Decimal | None) -> FloatArray:
    """The probabilities of the models, shape (M,); where nothing fits the budget, the cheapest
    model's is 1."""
    shares = np.zeros(len(costs))
    try:
        for index, share in solve(costs, rates, budget).parts:
            shares[index] = float(share)
    except InfeasibleError as error:
        shares[error.cheapest] = 1.0
    return shares


def _compared(right: FloatArray, ours: FloatArray, rates: FloatArray) -> tuple[float, float]:
    distance = 0.5 * float(np.abs(right - ours).sum())
    return distance, float(right @ rates - ours @ rates)


def _costs(
    board: PromptLeaderboard, cards: Sequence[ModelCard], rows: Sequence[int], tokens: int
) -> list[Decimal]:
    shape = RequestShape(input_tokens=tokens, input_tokens_upper_bound=4 * tokens)
    lengths = board.expected_output_tokens
    costs = []
    for card, row in zip(cards, rows, strict=True):
        predicted = None if lengths is None else float(lengths[row])
        costs.append(expected_cost_usd(card, shape, predicted) or Decimal(0))
    return costs


def _budgets(costs: Sequence[Decimal]) -> list[Decimal]:
    low, high = float(min(costs)), float(max(costs))
    if low <= 0 or high <= low:
        return [max(costs)]
    return [Decimal(repr(low * (high / low) ** share)) for share in _BUDGETS]
