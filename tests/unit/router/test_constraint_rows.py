"""Rows of constraints: a limit on a model counts all of its columns."""

from __future__ import annotations

from decimal import Decimal

import pytest

from router.candidates import Candidate
from router.catalog import ModelCard
from router.constraint_rows import rows_of
from router.constraints import Constraints, FurtherBudget


def candidate(name: str, effort: str | None = None) -> Candidate:
    card = ModelCard(
        name=name if effort is None else f"{name}:{effort}", provider="p", upstream_model=name,
        leaderboard_name=name, prices=None, effort=effort,
    )  # fmt: skip
    cost = Decimal("0.5")
    return Candidate(card, 0.0, 0.5, 0.5, 100.0, cost, None, None, None, cost)


@pytest.mark.parametrize(
    ("models", "counted"),
    [
        (("a",), [0.5, 0.5, 0.0]),
        (("a:low",), [0.5, 0.0, 0.0]),
        (("a:high", "plain"), [0.0, 0.5, 0.5]),
    ],
)
def test_a_budget_counts_models_and_columns(models: tuple[str, ...], counted: list[float]) -> None:
    pool = [candidate("a", "low"), candidate("a", "high"), candidate("plain")]
    limit = FurtherBudget(name="some", amount_usd=Decimal(1), models=models)
    (row,) = rows_of(pool, Constraints(budgets=(limit,)), None)
    assert row.coefficients.tolist() == counted
