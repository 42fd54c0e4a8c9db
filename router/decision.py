"""The decision: the chosen model, the mix, and everything that they rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from decimal import Decimal
from functools import cached_property

from router.candidates import Candidate
from router.catalog import ModelCard
from router.explain import Alternative, Told, explain
from router.objective import Objective
from router.record import record
from router.request import BudgetMode, RoutingRequest

__all__ = ["Alternative", "Decision"]


@record(frozen=True, kw_only=True)
class Decision:
    """The chosen model and everything that the choice rests on.

    request: what was asked. candidates: all models of the catalogue. mix: model -> probability, of
    one or two models (of more under several constraints). value, win_rate and expected_cost_usd
    belong to the chosen model, mix_* to the mix; the values are the objective's. shadow_price: what
    one more dollar of this request's budget would add to the objective. usd_per_win: what a certain
    win was taken to be worth; None where cost did not count below the budget. max_output_tokens,
    worst_case_cost_usd: the output cap that a hard budget or a ceiling requires, and the cost at
    that cap. draw: the number in [0, 1) that picked the model from the mix. is_kept: the model was
    not drawn, but is the one that the request wanted to keep. lane: closed_form or the solver's
    name; lane_note: what went wrong there.
    """

    request: RoutingRequest
    model: str
    card: ModelCard
    mix: Mapping[str, float]
    objective: Objective
    value: float
    mix_value: float
    win_rate: float
    mix_win_rate: float
    expected_cost_usd: Decimal | None
    mix_expected_cost_usd: Decimal | None
    shadow_price: float
    usd_per_win: Decimal | None
    budget_usd: Decimal | None
    budget_mode: BudgetMode
    max_output_tokens: int | None
    worst_case_cost_usd: Decimal | None
    draw: float
    lane: str = "closed_form"
    lane_note: str | None = None
    is_kept: bool = False
    is_held: bool = False
    mix_mean_cost_usd: Decimal | None = None
    candidates: Sequence[Candidate] = field(repr=False, compare=False)
    # Computed on demand: most decisions are acted on without anyone reading it.
    solve_coefficient: Callable[[], float] = field(repr=False, compare=False)

    @property
    def kept_note(self) -> str | None:
        """Why the model that the request wanted to keep does not answer; None where it does, or
        where the request names none."""
        wanted = self.request.kept
        if wanted is None or self.is_kept:
            return None
        found = next((c for c in self.candidates if c.card.name == wanted), None)
        if found is None:
            return f"{wanted}: it is no longer in the catalogue"
        return f"{wanted}: {found.reason or 'its expected cost is over the budget, now lower'}"

    @property
    def ranked(self) -> list[Candidate]:
        """All models of the catalogue, best first; those without a value last."""
        return sorted(self.candidates, key=_rank)

    @cached_property
    def alternatives(self) -> tuple[Alternative, ...]:
        """All models of the catalogue in the form in which they are shown, best first."""
        return tuple(map(_alternative, self.ranked))

    @property
    def coefficient(self) -> float:
        """The router's own Bradley-Terry coefficient (Algorithm 1); a single model keeps its
        own."""
        return self.solve_coefficient()

    @cached_property
    def explanation(self) -> str:
        """The decision explained in a few sentences."""
        told = Told(
            model=self.model,
            objective=self.objective,
            value=self.value,
            expected_cost_usd=self.expected_cost_usd,
            max_output_tokens=self.max_output_tokens,
            worst_case_cost_usd=self.worst_case_cost_usd,
            mix=self.mix,
            mix_value=self.mix_value,
            usd_per_win=self.usd_per_win,
            budget_usd=self.budget_usd,
            budget_mode=self.budget_mode,
            alternatives=self.alternatives,
            is_kept=self.is_kept,
            kept_note=self.kept_note,
            is_held=self.is_held,
        )
        return explain(told)


def known(number: float) -> float | None:
    """The number, or None where it is not finite."""
    return number if math.isfinite(number) else None


def _rank(candidate: Candidate) -> tuple[float, str]:
    value = candidate.value
    return (-value if math.isfinite(value) else 1.0, candidate.card.name)


def _alternative(candidate: Candidate) -> Alternative:
    return Alternative(
        model=candidate.card.name,
        coefficient=known(candidate.coefficient),
        win_rate=known(candidate.win_rate),
        value=known(candidate.value),
        expected_output_tokens=candidate.expected_output_tokens,
        expected_cost_usd=candidate.expected_cost_usd,
        eligible=candidate.reason is None,
        reason=candidate.reason,
    )
