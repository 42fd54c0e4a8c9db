"""Decides which models can serve a request at all, and says why each of the others cannot.

This runs before any optimisation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from router.catalog import ModelCard
from router.cost import (
    MIN_HARD_OUTPUT_TOKENS,
    estimate,
    largest_output_cap,
    least_hard_cap,
    unbounded_cap,
    worst_case_cost_usd,
)
from router.errors import (
    BudgetInfeasibleError,
    CeilingInfeasibleError,
    ContextFullError,
    WindowExhaustedError,
)
from router.leaderboard_values import UNKNOWN, Standing, Worth, is_moved, worth_of_shifted
from router.objective import Objective
from router.request import RoutingRequest

_OVER_BUDGET: Final = "it could cost more than the hard budget"
_OVER_CEILING: Final = "it could cost more than the key's max_request_usd"
_OVER_CONTEXT: Final = "its context of "
# The count of the input may be short by one part in this many: no two tokenizers count alike.
_UNCOUNTED: Final = 32
_OVER_WINDOW: Final = "it could cost more than is left of a window's budget"


class Candidate(NamedTuple):
    """A model of the catalogue together with its prediction for this prompt.

    `coefficient` and `value` (the value of the objective) are NaN where the leaderboard does not
    have the model. `output_cap` is the output limit in tokens that is sent along because of a hard
    budget, or because of a context window that the caller's own limit does not fit; None where no
    limit is needed or none fits. `reason` says why the model is not eligible; None where it is.
    `warm_cost_usd`: the cost of a later request of the same job, where that differs.
    `mean_cost_usd`: of this request and the later ones that are expected, by which the model is
    chosen (router.change); None where the price is unknown.
    """

    card: ModelCard
    coefficient: float
    win_rate: float
    value: float
    expected_output_tokens: float
    expected_cost_usd: Decimal | None
    output_cap: int | None
    reason: str | None
    warm_cost_usd: Decimal | None
    mean_cost_usd: Decimal | None


def candidates(
    known: Standing, catalogue: Sequence[ModelCard], request: RoutingRequest
) -> list[Candidate]:
    """Returns one candidate per card, eligible or not, in the order of the catalogue."""
    column, predicted = known.column, known.output_tokens
    shifted, shifts = dict[str, Worth](), request.coefficient_shifts
    allowed = None if request.allowed is None else frozenset(request.allowed)
    hard = request.most_usd
    pays = _cost_matters(request)
    shape, input_tokens, cached_tokens = request.shape, request.input_tokens, request.cached_tokens
    thought_tokens, length_factors = request.thought_tokens, request.length_factors
    caching, first_share = request.caching, request.first_share
    is_short = request.available_usd is not None
    found = []
    for card in catalogue:
        name, index = card.name, column.get(card.leaderboard_name)
        length = None if predicted is None or index is None else predicted[index]
        cap, over_hard, is_full = _output_cap(card, request, hard)
        expected = estimate(
            card,
            shape,
            length,
            input_tokens=input_tokens.get(name),
            cached_tokens=cached_tokens.get(name, 0),
            output_cap=cap,
            thought_tokens=thought_tokens.get(name, 0.0),
            factor=length_factors.get(name, 1.0),
            kept_s=caching.get(name, 0),
        )
        warm_usd = None if first_share is None else expected.warm_usd
        worth: tuple[float, float, float] = UNKNOWN
        if index is not None:
            if is_moved(card, shifts):
                shifted = shifted or worth_of_shifted(
                    known, catalogue, request.objective, shifts, request.value_shifts
                )
                worth = shifted[name]
            else:
                worth = known.coefficients[index], known.win_rates[index], known.values[index]
        reason = _reason(card, worth[2], request, allowed, is_full=is_full)
        # Without a price there is no expected cost.
        if reason is None and pays and (over_hard or is_short or expected.cost_usd is None):
            reason = _cannot_pay(card, request, over_hard=over_hard)
        found.append(
            Candidate(
                card,
                *worth,
                expected.output_tokens,
                expected.cost_usd,
                cap,
                reason,
                warm_usd,
                expected.cost_usd
                if first_share is None or warm_usd is None
                else expected.mean_usd(first_share),
            )
        )
    return found


def _output_cap(
    card: ModelCard, request: RoutingRequest, hard: Decimal | None
) -> tuple[int | None, bool, bool]:
    """Returns the output cap that the request needs at this model (None: none), whether no cap fits
    hard, the most that the request may cost, and whether the caller's own cap overfills the
    window."""
    cap = None if hard is None else largest_output_cap(card, request.shape, hard)
    over_hard = hard is not None and cap is None
    if _fits_whole(card, request):
        return cap, over_hard, False
    room = _room(card, request)
    if room is not None and not over_hard:
        cap = room if cap is None else min(cap, room)
    return cap, over_hard, True


def is_over_kept_limit(candidate: Candidate, request: RoutingRequest) -> bool:
    """Whether the kept model's expected cost is above the request's limit for keeping it."""
    limit, cost = request.kept_limit_usd, candidate.expected_cost_usd
    return limit is not None and (cost is None or cost > limit)


def infeasible_hard(
    found: Sequence[Candidate], request: RoutingRequest
) -> BudgetInfeasibleError | None:
    """Returns the error for a request that only its hard budget, or the ceiling, makes infeasible.

    The error names the model with the smallest worst case. None where there is another reason.
    """
    worst = [
        (cost, c.card.name)
        for c in found
        if c.reason is not None
        and c.reason.startswith((_OVER_BUDGET, _OVER_CEILING))
        and (
            cost := worst_case_cost_usd(
                c.card, request.shape, least_hard_cap(c.card, request.shape)
            )
        )
        is not None
    ]
    limit = request.most_usd
    if not worst or limit is None:
        return None
    cost, name = min(worst)
    if limit == request.ceiling_usd:
        return CeilingInfeasibleError(name, cost, limit)
    return BudgetInfeasibleError(name, cost, limit, "a worst-case cost")


def exhausted_window(
    found: Sequence[Candidate], request: RoutingRequest
) -> WindowExhaustedError | None:
    """Returns the error where a window's budget is the only obstacle for at least one model."""
    out = [c for c in found if c.reason == _OVER_WINDOW]
    if not out or request.available_usd is None:
        return None
    worst = [
        worst_case_cost_usd(c.card, request.shape, least_hard_cap(c.card, request.shape))
        for c in out
    ]
    return WindowExhaustedError(
        min(cost for cost in worst if cost is not None), request.available_usd
    )


def full_context(found: Sequence[Candidate], request: RoutingRequest) -> ContextFullError | None:
    """Returns the error where a shorter conversation is all that at least one model would need."""
    full = [c.card for c in found if c.reason is not None and c.reason.startswith(_OVER_CONTEXT)]
    if not full:
        return None
    largest = max(full, key=lambda card: card.context_window or 0)
    reasons = {c.card.name: c.reason or "" for c in found}
    return ContextFullError(reasons, _least_context(largest, request), largest.context_window or 0)


def _input_of(card: ModelCard, request: RoutingRequest) -> int:
    return request.input_tokens.get(card.name, request.shape.input_tokens)


def _fits_whole(card: ModelCard, request: RoutingRequest) -> bool:
    """Whether the context window surely has room for the conversation and the longest answer that
    the caller's own cap allows; without a cap, for the shortest possible answer."""
    window, shape = card.context_window, request.shape
    if window is None:
        return True
    longest = 1 if shape.max_output_tokens is None else unbounded_cap(card, shape)
    return request.input_tokens.get(card.name, shape.input_tokens) + longest <= window


def _least_context(card: ModelCard, request: RoutingRequest) -> int:
    """The tokens that the conversation and the shortest possible answer take. A caller's own cap
    that does not fit beside the conversation is lowered, and an allowance for an undercount is left
    free."""
    shape, n_input = request.shape, _input_of(card, request)
    if shape.max_output_tokens is None:
        return n_input + 1
    cap = unbounded_cap(card, shape)
    least = min(cap, MIN_HARD_OUTPUT_TOKENS + shape.thinking_tokens.get(card.name, 0))
    return min(n_input + cap, n_input + n_input // _UNCOUNTED + least)


def _room(card: ModelCard, request: RoutingRequest) -> int | None:
    """The tokens that the context window leaves for the answer where the caller's own cap does not
    fit; None where the cap need not be lowered, or where no answer fits."""
    shape, window = request.shape, card.context_window
    if window is None or shape.max_output_tokens is None:
        return None
    n_input = _input_of(card, request)
    if n_input + unbounded_cap(card, shape) <= window or _least_context(card, request) > window:
        return None
    return window - n_input - n_input // _UNCOUNTED


def _reason(
    card: ModelCard,
    value: float,
    request: RoutingRequest,
    allowed: frozenset[str] | None,
    *,
    is_full: bool,
) -> str | None:
    """Why the model is out, apart from its cost; None where it is not. is_full: see
    _fits_whole."""
    if allowed is not None and card.name not in allowed:
        return "it is not in the allow-list"
    if card.retired is not None:
        return card.retired
    if card.name in request.excluded:
        return request.excluded[card.name]
    if not math.isfinite(value):
        what = "expected score" if request.objective is Objective.EXPECTED_SCORE else "coefficient"
        return f"the leaderboard has no {what} for {card.leaderboard_name}"
    shape = request.shape
    return _cannot(card, request) if is_full or shape.needs or shape.thinking_tokens else None


def _cannot(card: ModelCard, request: RoutingRequest) -> str | None:
    shape = request.shape
    if shape.needs and card.capabilities is not None:
        missing = shape.needs - card.capabilities
        if missing:
            return f"it lacks {', '.join(sorted(missing))}"
    thinking = shape.thinking_tokens.get(card.name, 0)
    if thinking > 0 and thinking >= (cap := least_hard_cap(card, shape)):
        return (
            f"its output limit of {cap} tokens leaves no room after {thinking} tokens of thinking"
        )
    if card.context_window is None:
        return None
    needed = _least_context(card, request)
    if needed > card.context_window:
        return (
            f"{_OVER_CONTEXT}{card.context_window} tokens is smaller than the {needed} that "
            "are needed"
        )
    return None


def _with_thinking(card: ModelCard, request: RoutingRequest) -> str:
    thinking = request.shape.thinking_tokens.get(card.name, 0)
    return "" if thinking == 0 else f", with {thinking} tokens of thinking"


def _cost_matters(request: RoutingRequest) -> bool:
    return not (
        request.budget_usd is None
        and request.usd_per_win is None
        and request.ceiling_usd is None
        and not request.in_window
        and request.available_usd is None
        and request.constraints is None
    )


def _cannot_pay(card: ModelCard, request: RoutingRequest, *, over_hard: bool) -> str | None:
    """Why the model is out on account of its cost; None where it is not. over_hard: no output cap
    fits the hard budget or the ceiling."""
    if card.prices is None:
        return "its price is unknown, and the request has a budget: configure the price"
    tier = request.shape.tier_at(card.name)
    if card.prices_at(tier) is None:
        return (
            f"its price in tier {tier} is unknown, and the request has a budget: configure "
            "tier_prices"
        )
    if over_hard:
        is_ceiling = request.most_usd == request.ceiling_usd
        reason = _OVER_CEILING if is_ceiling else _OVER_BUDGET
        return reason + _with_thinking(card, request)
    left = request.available_usd
    if left is not None and largest_output_cap(card, request.shape, left) is None:
        return _OVER_WINDOW
    return None
