"""Jobs that the gateway's own objects decide: planner, sessions, router and receipts. There is no
provider: each answer is there at once, and has the length that was expected."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from p2l_model.engine.scorer import FixedScorer
from router.catalog import ModelCard, Prices
from router.cost import Usage
from server.accounts.accounts import Accounts, NoLedger
from server.auth.authenticator import Caller
from server.config.settings import ScorerSettings
from server.config.settings.routing import RoutingSettings, SessionSettings
from server.gateway.admission import Admission
from server.gateway.gateway import Gateway
from server.gateway.jobs import Jobs
from server.gateway.learned_costs import Learned
from server.gateway.planner import Planner
from server.gateway.receipt import exchange_receipt
from server.gateway.routed_request import Exchange
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import RoutingOptions

Message = dict[str, Any]


def card(name: str, usd: int, **prices: Decimal) -> ModelCard:
    """A model that takes so many USD per million tokens of input, and answers in no tokens."""
    own = Prices(input_usd_per_mtok=Decimal(usd), output_usd_per_mtok=Decimal(0), **prices)
    return ModelCard(
        name=name, provider="p", upstream_model=name, leaderboard_name=name, prices=own
    )


class _Answer:
    """An answer, and who is told of its calls."""

    def __init__(self) -> None:
        self.on_call: Callable[[str], None] | None = None


class Spent(NamedTuple):
    """What was expected of one request, in USD. mix: of its mix."""

    granted: float
    chosen: float
    mix: float


class PlayedJobs:
    """coefficients: of the models, by name. rules: of routing."""

    def __init__(
        self,
        cards: Sequence[ModelCard],
        coefficients: dict[str, float],
        seed: int = 1,
        previous: PlayedJobs | None = None,
        **rules: Any,
    ) -> None:
        self.now_s = 0.0
        entropy = random.Random(seed)
        sessions = SessionSettings(**rules.pop("sessions", {}))
        routing = RoutingSettings(sessions=sessions, **rules)
        self.planner = Planner(
            cards,
            routing,
            ScorerSettings(fixed=coefficients),
            FixedScorer(coefficients),
            previous=None if previous is None else previous.planner,
        )
        before = None if previous is None else previous.planner.jobs
        self.planner.jobs = Jobs(sessions, entropy, before, clock=self._clock)
        if previous is None:
            self.planner.learned = Learned(self._clock)
        self.gateway = Gateway(
            self.planner, {}, admission=Admission(1), entropy=entropy, accounts=Accounts(NoLedger())
        )

    async def ask(
        self,
        messages: Sequence[Message],
        caller: str = "me",
        *,
        answered: bool = True,
        call: str | None = None,
        effort: str | None = None,
        **options: Any,
    ) -> Exchange:
        """Decides a request. answered: whether it is also answered, as a real one. call: the id of
        the call that its answer makes. effort: as the caller names it."""
        body = {"model": "p2l", "messages": list(messages), "reasoning_effort": effort}
        request = parse_chat_request({k: v for k, v in body.items() if v is not None})
        plan = await self.planner.plan(request, RoutingOptions(**options), Caller(caller))
        board, score_ms = await self.planner.leaderboard(plan)
        if not answered:
            return self.gateway.route(plan, board, score_ms)
        self.planner.jobs.enter(plan)
        exchange = self.gateway.route(plan, board, score_ms)
        self.planner.jobs.decided(exchange)
        answer = _Answer()
        self.planner.jobs.answered(exchange, request, answer)  # type: ignore[arg-type]
        if call is not None and answer.on_call is not None:
            answer.on_call(call)
        read = exchange.decision.request.cached_tokens.get(exchange.decision.model, 0)
        tokens = plan.routing.shape.input_tokens
        usage = Usage(prompt_tokens=tokens, completion_tokens=0, cached_tokens=min(read, tokens))
        self.gateway.learns_from(exchange)(usage)
        return exchange

    def _clock(self) -> float:
        return self.now_s


def said(exchange: Exchange) -> str | None:
    """The value of x-p2l-kept."""
    from server.endpoints.answer import response_headers

    return response_headers(exchange).get("x-p2l-kept")


def receipt_of(exchange: Exchange) -> dict[str, Any]:
    """The receipt, as it is read."""
    return exchange_receipt(exchange, created_s=1, checkpoint=None)


def spent_of(exchange: Exchange) -> Spent:
    """What was expected of a request with a budget."""
    decision = exchange.decision
    amounts = (
        decision.budget_usd,
        decision.expected_cost_usd,
        decision.mix_expected_cost_usd,
    )
    return Spent(*(float(usd or 0) for usd in amounts))
