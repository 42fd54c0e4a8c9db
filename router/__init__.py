"""The router: chooses a model from a leaderboard, prices and a budget. No I/O and no clock.

The names in `__all__` are the public API; each is imported when it is first used.

    >>> import random
    >>> from decimal import Decimal
    >>> import numpy as np
    >>> from p2l_model.types import PreferenceFamily, PromptLeaderboard
    >>> from router import ModelCard, Prices, RequestShape, RoutingRequest, decide
    >>> board = PromptLeaderboard(
    ...     PreferenceFamily.BT, ("large", "small"), np.array([1.0, 0.0]))
    >>> def card(name: str, usd: int) -> ModelCard:
    ...     prices = Prices(input_usd_per_mtok=Decimal(usd), output_usd_per_mtok=Decimal(usd))
    ...     return ModelCard(name=name, provider="any", upstream_model=name,
    ...                      leaderboard_name=name, prices=prices)
    >>> shape = RequestShape(input_tokens=1000, input_tokens_upper_bound=1000)
    >>> asked = RoutingRequest(shape=shape, budget_usd=Decimal("0.002"))
    >>> decision = decide(board, [card("large", 5), card("small", 1)], asked, random.Random(1))
    >>> {model: round(share, 3) for model, share in sorted(decision.mix.items())}
    {'large': 0.135, 'small': 0.865}
    >>> round(decision.mix_expected_cost_usd, 6)
    Decimal('0.002000')
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.catalog import ModelCard, Prices
    from router.choice import decide
    from router.constraints import Constraints, FurtherBudget
    from router.cost import RequestShape, Usage, actual_cost_usd
    from router.decision import Decision
    from router.errors import RouterError
    from router.objective import Objective
    from router.receipt import build_receipt, replay
    from router.request import BudgetMode, RoutingRequest

__all__ = [
    "BudgetMode",
    "Constraints",
    "Decision",
    "FurtherBudget",
    "ModelCard",
    "Objective",
    "Prices",
    "RequestShape",
    "RouterError",
    "RoutingRequest",
    "Usage",
    "actual_cost_usd",
    "build_receipt",
    "decide",
    "replay",
]

_HOMES = {
    "BudgetMode": "router.request",
    "Constraints": "router.constraints",
    "Decision": "router.decision",
    "FurtherBudget": "router.constraints",
    "ModelCard": "router.catalog",
    "Objective": "router.objective",
    "Prices": "router.catalog",
    "RequestShape": "router.cost",
    "RouterError": "router.errors",
    "RoutingRequest": "router.request",
    "Usage": "router.cost",
    "actual_cost_usd": "router.cost",
    "build_receipt": "router.receipt",
    "decide": "router.choice",
    "replay": "router.receipt",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
