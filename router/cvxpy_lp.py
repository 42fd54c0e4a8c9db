"""The slow lane: the general linear program for more rows than one budget, solved with cvxpy.

    maximise  pi' w   subject to  A pi <= b,  sum pi = 1,  pi >= 0

The problem of each shape (models, rows) is compiled once (DPP: only its parameters change) and
solved by CLARABEL under a time limit; the solver's status is always read. Where the solver is too
slow, the closed form solves the problem among the models that each keep every row alone, since any
mix of those keeps all rows.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

import numpy as np

from p2l_model.types import FloatArray
from router.constraint_rows import BUDGET, Row
from router.errors import ConstraintsInfeasibleError, SolverFailedError, UnkeptRow
from router.hull import Mix

_SOLVER: Final = "CLARABEL"
# A share below this is rounding by the solver.
_DUST: Final = 1e-6
# A row may exceed its limit by this share of its scale and still counts as kept.
_TOLERANCE: Final = 1e-6
_DIGITS: Final = Decimal("1E-12")
# A limit that no row reaches, in units of the row's scale.
_FREE: Final = 1e3
_MAX_SHAPES: Final = 32


class _Compiled(NamedTuple):
    """solve: worth (M,), A (R, M), b (R,), seconds -> (status, shares (M,), duals (R,))."""

    solve: Callable[[FloatArray, FloatArray, FloatArray, float], tuple[str, FloatArray, FloatArray]]


class GeneralLp:
    """The general solver. It keeps its compiled problems and must not be shared between threads.

    time_limit_s: for one solve. Raises ImportError where cvxpy is not installed.
    """

    def __init__(self, time_limit_s: float = 0.05) -> None:
        import cvxpy

        self._cvxpy: Any = cvxpy
        self._time_limit_s = time_limit_s
        self._compiled: OrderedDict[tuple[int, int], _Compiled] = OrderedDict()

    def solve(
        self,
        worth: FloatArray,
        values: FloatArray,
        costs: Sequence[Decimal],
        rows: Sequence[Row],
        budget_usd: Decimal | None,
    ) -> Mix:
        """Returns the optimal mix. worth (M,) is maximised; values (M,) are those of the objective.

        Raises ConstraintsInfeasibleError with the rows that cannot be kept, SolverFailedError.
        """
        status, shares, duals = self._run(worth, rows, [row.limit for row in rows])
        if status == "infeasible":
            raise ConstraintsInfeasibleError(self._blame(rows))
        if status != "optimal":
            raise SolverFailedError(f"the solver's status is {status}")
        parts = _within(_cleaned(shares), costs, budget_usd)
        self._check(parts, rows)
        spent = sum((share * costs[k] for k, share in parts), Decimal(0))
        value = float(sum(float(share) * float(values[k]) for k, share in parts))
        price = next(
            (float(d) / r.scale for r, d in zip(rows, duals, strict=True) if r.name == BUDGET), 0.0
        )
        if budget_usd is not None:
            spent = min(spent, budget_usd)
        return Mix(tuple(parts), value, spent, max(0.0, price))

    def _run(
        self, worth: FloatArray, rows: Sequence[Row], limits: Sequence[float]
    ) -> tuple[str, FloatArray, FloatArray]:
        shape = (worth.size, len(rows))
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(*shape)
            if len(self._compiled) > _MAX_SHAPES:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(shape)
        table = np.array([row.coefficients / row.scale for row in rows])
        bounds = np.array([x / row.scale for x, row in zip(limits, rows, strict=True)])
        return self._compiled[shape].solve(worth, table, bounds, self._time_limit_s)

    def _compile(self, n_models: int, n_rows: int) -> _Compiled:
        cvxpy = self._cvxpy
        share = cvxpy.Variable(n_models, nonneg=True)
        worth = cvxpy.Parameter(n_models)
        table = cvxpy.Parameter((n_rows, n_models))
        bounds = cvxpy.Parameter(n_rows)
        kept = table @ share <= bounds
        problem = cvxpy.Problem(cvxpy.Maximize(worth @ share), [cvxpy.sum(share) == 1, kept])

        def solve(
            w: FloatArray, a: FloatArray, b: FloatArray, seconds: float
        ) -> tuple[str, FloatArray, FloatArray]:
            worth.value, table.value, bounds.value = w, a, b
            try:
                with warnings.catch_warnings():
                    # The status, which is read below, says all that these warnings say.
                    warnings.simplefilter("ignore")
                    problem.solve(solver=_SOLVER, time_limit=seconds)
            except cvxpy.SolverError as error:
                raise SolverFailedError(str(error).splitlines()[0]) from error
            if problem.status != cvxpy.OPTIMAL:
                return problem.status, np.zeros(n_models), np.zeros(n_rows)
            return problem.status, share.value, np.atleast_1d(kept.dual_value)

        return _Compiled(solve)

    def _blame(self, rows: Sequence[Row]) -> list[UnkeptRow]:
        """Finds the rows that cannot be kept while all others are. Where even the others contradict
        each other, finds those that no single model keeps."""
        found = []
        for k, row in enumerate(rows):
            limits = [_FREE * r.scale if j == k else r.limit for j, r in enumerate(rows)]
            status, shares, _ = self._run(-row.coefficients / row.scale, rows, limits)
            least = float(row.coefficients @ shares)
            if status == "optimal" and least > row.limit + _TOLERANCE * row.scale:
                found.append(row.told(least))
        alone = [row.told(float(row.coefficients.min())) for row in rows]
        return found or [told for told in alone if told.is_broken]

    def _check(self, parts: Sequence[tuple[int, Decimal]], rows: Sequence[Row]) -> None:
        for row in rows:
            used = sum(float(share) * float(row.coefficients[k]) for k, share in parts)
            if used > row.limit + _TOLERANCE * row.scale:
                raise SolverFailedError(f"the solver's answer does not keep {row.name}")


def _cleaned(shares: FloatArray) -> list[tuple[int, Decimal]]:
    kept = {k: s for k, s in enumerate(shares.tolist()) if s > _DUST}
    total = sum(kept.values())
    parts = {k: Decimal(s / total).quantize(_DIGITS) for k, s in kept.items()}
    largest = max(parts, key=lambda k: parts[k])
    parts[largest] += 1 - sum(parts.values(), Decimal(0))
    return list(parts.items())


def _within(
    parts: list[tuple[int, Decimal]], costs: Sequence[Decimal], budget_usd: Decimal | None
) -> list[tuple[int, Decimal]]:
    """Moves the share that rounding puts over the budget to the cheapest model."""
    over = sum((share * costs[k] for k, share in parts), Decimal(0)) - (budget_usd or Decimal(0))
    if budget_usd is None or over <= 0 or len(parts) < 2:
        return parts
    cheap = min(parts, key=lambda part: costs[part[0]])[0]
    dear = max(parts, key=lambda part: costs[part[0]])[0]
    moved = (over / (costs[dear] - costs[cheap])).quantize(_DIGITS) + _DIGITS
    change = {cheap: moved, dear: -moved}
    return [(k, share + change.get(k, Decimal(0))) for k, share in parts]
