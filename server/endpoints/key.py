"""GET /v1/key: the permissions, the spend and the remaining budget of the caller's own key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import orjson
from fastapi import APIRouter, Response

from server.auth.authenticator import Caller
from server.endpoints.common import CallerDep, StateDep, json_response
from server.endpoints.decision_json import plain
from server.endpoints.openapi import error_responses
from server.errors import OverloadedError
from server.ledger.window import Balance, WindowSpec, from_nano
from server.state import State
from server.storage.errors import StorageError
from server.storage.spend import key_balance

router = APIRouter(responses=error_responses())
# For a key without a budget of its own, the spend of this many days is reported.
_SPAN_S: Final = 30 * 86_400


@router.get("/v1/key")
async def key(caller: CallerDep, state: StateDep) -> Response:
    """The caller's own limits, spend and remaining budget. Money in USD.

    budget_usd: the key's budget, in any window_s or, without it, in total; spent_usd and
    reserved_usd are the parts in use. Without a budget, spent_usd is the spend of the last 30 days.
    left_usd: what the next requests may cost together, counting all windows; null where nothing
    limits it. max_request_usd, session_budget_usd: what one request, or one session, may cost.
    windows: all windows that count this key
    alone.
    """
    try:
        balances = await state.gateway.accounts.balances(caller)
        spent, reserved = await _of_the_budget(caller, state, balances)
    except StorageError:
        raise OverloadedError("The storage is not available just now.") from None
    limits = caller.limits
    told = {
        "object": "key",
        "name": caller.name,
        "admin": caller.admin,
        "models": None if caller.models is None else sorted(caller.models),
        "max_request_usd": _money(limits.max_request_usd),
        "session_budget_usd": _money(limits.session_budget_usd),
        "budget_usd": _money(limits.budget_usd),
        "window_s": limits.window_s,
        "spent_usd": _money(spent),
        "reserved_usd": _money(reserved),
        "left_usd": _money(min((_left(*pair) for pair in balances), default=None)),
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "expires_at": caller.expires_at,
        "windows": [_window(*pair) for pair in balances if pair[0].key_name is not None],
    }
    return json_response(told, {"cache-control": "no-store"})


async def _of_the_budget(
    caller: Caller, state: State, balances: Sequence[tuple[WindowSpec, Balance]]
) -> tuple[Decimal, Decimal]:
    """The spent and the reserved part of the key's own budget. Raises StorageError."""
    if caller.limits.budget_usd is not None:
        for spec, balance in balances:
            if spec.key_name is not None and spec.window_s == caller.limits.window_s:
                return from_nano(balance.spent), from_nano(balance.reserved)
    await state.store.flush()  # recent attempts may still be on their way to the database
    since = time.time() - _SPAN_S
    return await asyncio.to_thread(key_balance, state.store.database, caller.name, since)


def _window(spec: WindowSpec, balance: Balance) -> dict[str, Any]:
    return {
        "budget_usd": _money(spec.amount_usd),
        "window_s": spec.window_s,
        "spent_usd": _money(from_nano(balance.spent)),
        "reserved_usd": _money(from_nano(balance.reserved)),
        "left_usd": _money(_left(spec, balance)),
    }


def _left(spec: WindowSpec, balance: Balance) -> Decimal:
    return max(Decimal(0), from_nano(spec.amount_nano - balance.spent - balance.reserved))


def _money(amount_usd: Decimal | None) -> orjson.Fragment | None:
    """A JSON number with its exact digits and without an exponent."""
    return None if amount_usd is None else orjson.Fragment(plain(amount_usd))
