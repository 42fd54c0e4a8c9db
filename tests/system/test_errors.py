"""The router's refusals as answers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from router.errors import (
    BudgetInfeasibleError,
    ConstraintsInfeasibleError,
    InvalidRoutingError,
    NoEligibleModelError,
    RouterError,
    WindowExhaustedError,
)
from server.gateway.failures import from_router


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (
            BudgetInfeasibleError("m", Decimal(2), Decimal(1), "an expected cost"),
            400,
            "budget_infeasible",
        ),
        (WindowExhaustedError(Decimal(2), Decimal(1)), 429, "budget_exhausted"),
        (NoEligibleModelError({"m": "no tools"}), 400, "no_eligible_model"),
        (ConstraintsInfeasibleError([]), 400, "no_eligible_model"),
        (InvalidRoutingError("opponents"), 400, "invalid_request"),
    ],
)
def test_every_refusal_is_the_callers_to_mend(error: RouterError, status: int, code: str) -> None:
    told = from_router(error)
    assert (told.status, told.code, told.message) == (status, code, str(error))
