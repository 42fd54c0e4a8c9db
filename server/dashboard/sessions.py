"""The dashboard's JSON for sessions: what they did and cost, and what is left of their budgets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from server.auth.authenticator import Caller
from server.ledger.attempt import usd
from server.state import State
from server.storage.session_activity import SessionActivity


def session_json(state: State, one: SessionActivity) -> dict[str, Any]:
    """One session, under the keyed hash by which spend is told too. Amounts are in USD, by the
    ledger; without a budget, budget_usd and left_usd are null. cached_share: the share of its input
    tokens that was read from a cache."""
    budget = _budget(state, one)
    left = None if budget is None else max(Decimal(0), budget - usd(one.taken_pico))
    return {
        "session": one.session,
        "key": one.key_name,
        "first_at": one.first_at,
        "last_at": one.last_at,
        "requests": one.requests,
        "under_way": one.under_way,
        "models": dict(one.models),
        "model_changes": one.changes,
        "cost_usd": float(usd(one.cost_pico)),
        "prompt_tokens": one.prompt_tokens,
        "cached_share": one.cached_tokens / one.prompt_tokens if one.prompt_tokens > 0 else None,
        "budget_usd": None if budget is None else float(budget),
        "left_usd": None if left is None else float(left),
    }


def _budget(state: State, one: SessionActivity) -> Decimal | None:
    """The budget that would hold for the session's next request."""
    purses = state.gateway.accounts.purses
    if purses is None:
        return None
    caller = state.authenticator.callers.get(one.key_name) or Caller(one.key_name)
    return purses.limit(caller, None if one.given_pico is None else usd(one.given_pico))
