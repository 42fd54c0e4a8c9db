"""Sends single calls on the gateway's own path: its providers, breakers, windows and ledger."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from router.cost import WorstCase, unbounded_cap, worst_case
from server.auth.authenticator import Caller
from server.endpoints.answer import whole_answer
from server.errors import ApiError
from server.gateway.gateway import Gateway
from server.gateway.plan import Plan
from server.ledger.window import from_nano
from server.surfaces.base import GatewayRequest
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import RoutingOptions

KEY: Final = "learn"


@dataclass(frozen=True, slots=True)
class Quote:
    """A call that could be made. expected_usd, most_usd: its mean and its highest cost;
    worst: the latter as a function of the output limit."""

    request: GatewayRequest = field(repr=False)
    plan: Plan = field(repr=False)
    expected_usd: Decimal
    most_usd: Decimal
    worst: WorstCase

    def cap_for(self, usd: Decimal) -> int | None:
        """The largest output limit in tokens whose worst case is within the amount."""
        if self.worst.usd_per_token == 0:
            return None
        cap = int((usd - self.worst.input_usd) // self.worst.usd_per_token)
        return cap if cap > 0 else None

    @property
    def request_id(self) -> str:
        """The id under which the ledger will know the call."""
        return self.plan.request_id


@dataclass(frozen=True, slots=True)
class Bought:
    """An answer. cost_usd: as booked. is_cut: it ended at its output limit. latency_s: seconds from
    the request to the end of the answer."""

    text: str = field(repr=False)
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    latency_s: float

    @property
    def is_whole(self) -> bool:
        """Whether there is an answer, and it was not cut: only then does it say anything."""
        return self.finish_reason != "length" and self.text.strip() != ""


class UnpricedError(Exception):
    """The model has no price, so that its calls have no upper bound."""


class Buyer:
    """Makes the calls of one run. run: its name; the ledger counts its money as that of a session
    of the key `learn`. spend_usd: what all its calls may cost together."""

    def __init__(self, gateway: Gateway, run: str, spend_usd: Decimal) -> None:
        self._gateway = gateway
        self._run = run
        self._spend_usd = spend_usd
        self._caller = Caller(KEY)

    async def quote(
        self, model: str, body: Mapping[str, Any], kind: str, *, is_dry: bool = False
    ) -> Quote:
        """What a call would cost. model: a catalogue name or column; body: of chat completions,
        without a model; kind: the ledger's tag for it. Raises ApiError where the model cannot take
        the request, UnpricedError."""
        request = parse_chat_request({**body, "model": "p2l"})
        options = RoutingOptions(
            models=(model,),
            tags=(KEY, kind),
            session=self._run,
            session_budget_usd=self._spend_usd,
        )
        planner = self._gateway.planner
        plan = await planner.plan(request, options, self._caller, is_dry=is_dry)
        board, score_ms = await planner.leaderboard(plan)
        decision = self._gateway.route(plan, board, score_ms).decision
        shape, card = plan.routing.shape, decision.card
        worst = worst_case(card, shape)
        if worst is None or decision.expected_cost_usd is None:
            raise UnpricedError
        most_usd = worst.at(unbounded_cap(card, shape))
        return Quote(request, plan, min(decision.expected_cost_usd, most_usd), most_usd, worst)

    async def buy(self, quote: Quote) -> Bought:
        """Makes the call. Raises ApiError where no answer came of it."""
        gateway = self._gateway
        place = await gateway.admit(self._caller)
        started = time.perf_counter()
        try:
            exchange, reply = await gateway.complete(quote.request, quote.plan)
        finally:
            place.leave()
        latency_s = time.perf_counter() - started
        body, _ = whole_answer(exchange, quote.request, reply)
        entry = exchange.entry
        cost_usd = None if entry is None else entry.cost_usd
        text, finish_reason = _said(body)
        usage = body.get("usage") or {}
        return Bought(
            text,
            finish_reason,
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
            Decimal(0) if cost_usd is None else cost_usd,
            latency_s,
        )

    async def spent_usd(self) -> Decimal:
        """What the ledger has counted for the run, with its earlier starts; what died with a
        process counts at its worst case. Raises StorageError, ApiError."""
        accounts = self._gateway.accounts
        purse = await accounts.purse(self._caller, self._run, None, self._spend_usd)
        if purse is None or purse.spec is None:
            raise TypeError("a session with a budget has a window")
        return from_nano((await accounts.session_balance(purse.spec)).spent)


def _said(body: Mapping[str, Any]) -> tuple[str, str]:
    """The text of an answer, and why it ended."""
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else "", str(choice.get("finish_reason") or "")


def reason_of(error: ApiError) -> str:
    """The code of an error: its message could quote a provider, and thereby a prompt."""
    return str(error.code)
