"""Chooses the solver of a request with constraints, and falls back where the general one fails."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

import numpy as np

from p2l_model.types import FloatArray
from router.candidates import Candidate
from router.constraint_rows import Row, rows_of
from router.constraints import Constraints
from router.errors import ConstraintsInfeasibleError, SolverFailedError
from router.hull import InfeasibleError, Mix, solve
from router.request import RoutingRequest

CLOSED_FORM = "closed_form"
SOLVER = "solver"


class SlowLane(Protocol):
    """The interface of a solver for the general linear program: see router.cvxpy_lp.GeneralLp."""

    def solve(
        self,
        worth: FloatArray,
        values: FloatArray,
        costs: Sequence[Decimal],
        rows: Sequence[Row],
        budget_usd: Decimal | None,
    ) -> Mix:
        """Returns the best mix of M models. worth (M,) is maximised, values (M,) are reported.

        Raises ConstraintsInfeasibleError, SolverFailedError.
        """


class Optimum(NamedTuple):
    """The optimal mix over the pool, the lane that found it, and a note on what went wrong before.
    budget_usd: that of the mix, None without one. is_held: a better model gains too little over the
    one that answered last."""

    mix: Mix
    lane: str = CLOSED_FORM
    note: str | None = None
    budget_usd: Decimal | None = None
    is_held: bool = False


def constrained_optimum(
    pool: Sequence[Candidate],
    request: RoutingRequest,
    constraints: Constraints,
    budget: Decimal | None,
    slow_lane: SlowLane | None,
) -> Optimum:
    """Maximises the objective, or minimises the cost where there is a floor under the value.
    budget: for the mean cost, in USD.

    Raises ConstraintsInfeasibleError; InfeasibleError where the budget alone cannot be kept.
    """
    costs = [Decimal(0) if c.mean_cost_usd is None else c.mean_cost_usd for c in pool]
    values = np.array([c.value for c in pool])
    cheapest = min(range(len(costs)), key=costs.__getitem__)
    if budget is not None and costs[cheapest] > budget:
        raise InfeasibleError(cheapest)
    rows = rows_of(pool, constraints, budget)
    if len(rows) == (0 if budget is None else 1):
        return Optimum(solve(costs, values, budget, request.usd_per_win))
    worth = _worth(costs, values, constraints, request.usd_per_win)
    failure = "no solver is installed"
    if slow_lane is not None:
        try:
            return Optimum(slow_lane.solve(worth, values, costs, rows, budget), SOLVER)
        except SolverFailedError as error:
            failure = str(error)
    return _without_solver(costs, values, worth, rows, budget, failure)


def _worth(
    costs: Sequence[Decimal],
    values: FloatArray,
    constraints: Constraints,
    usd_per_win: Decimal | None,
) -> FloatArray:
    cost = np.array([float(amount) for amount in costs])
    if constraints.min_value is not None:
        dearest = float(cost.max())
        return -cost / (dearest if dearest > 0 else 1.0)
    worth: FloatArray = values if usd_per_win is None else values - cost / float(usd_per_win)
    return worth


def _without_solver(
    costs: Sequence[Decimal],
    values: FloatArray,
    worth: FloatArray,
    rows: Sequence[Row],
    budget: Decimal | None,
    failure: str,
) -> Optimum:
    """Solves with the closed form, among the models that each keep all rows alone.

    Any mix of such models keeps all rows too, so the result is valid, if not always optimal. Rows
    on the providers' shares cannot be kept by a single model and are left out.
    """
    whole = [row for row in rows if not row.is_share]
    kept = [k for k in range(len(costs)) if all(row.coefficients[k] <= row.limit for row in whole)]
    if not kept:
        told = [row.told(float(row.coefficients.min())) for row in whole]
        raise ConstraintsInfeasibleError([t for t in told if t.is_broken] or told)
    part = solve([costs[k] for k in kept], worth[kept], budget)
    parts = tuple((kept[k], share) for k, share in part.parts)
    value = sum(float(share) * float(values[k]) for k, share in parts)
    note = f"{failure}, so only models that keep every constraint by themselves were considered"
    if len(whole) < len(rows):
        note += ", and provider_shares were ignored"
    return Optimum(Mix(parts, value, part.cost_usd, part.shadow_price), CLOSED_FORM, note)
