"""Chooses live requests for a second answer, and grades them when the gateway is quiet."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final

from server.auth.authenticator import Caller, KeyLimits
from server.config.settings import LearningSettings
from server.errors import ApiError, BudgetExhaustedError
from server.gateway.gateway import Gateway
from server.gateway.plan import Plan
from server.gateway.routed_request import Exchange
from server.shadow.answered import Answered, answered
from server.shadow.calls import KEY
from server.shadow.consent import is_sampled, may_be_repeated, may_be_shown
from server.shadow.grading import NotComparedError, compared
from server.shadow.hearing import Listener, harmless, text_of
from server.storage.database import Database
from server.storage.errors import StorageError
from server.storage.grades import add_grades
from server.surfaces.base import GatewayRequest
from server.surfaces.routing_options import RoutingOptions
from server.upstream.base import UpstreamReply, UpstreamStream

# Texts are in memory only, and only of this many requests, for this long.
_MOST_WAITING: Final = 8
_MOST_WAIT_S: Final = 60.0
_DAY_S: Final = 86_400
# What became of the chosen requests, for the metrics; NotComparedError adds its own words.
OUTCOMES: Final = (
    "graded",
    "queue_full",
    "too_late",
    "no_money",
    "failed",
    "own_family",
    "no_other_model",
    "no_answer",
    "no_verdict",
)


class Shadow:
    """The second answers of one process. learning, gateway: what is in force now."""

    def __init__(
        self,
        learning: Callable[[], LearningSettings],
        gateway: Callable[[], Gateway],
        database: Database,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._learning = learning
        self._gateway = gateway
        self._database = database
        self._clock = clock
        self._waiting: deque[Answered] = deque()
        self._caller = Caller(KEY)
        self.outcomes: Counter[str] = Counter()

    @property
    def is_on(self) -> bool:
        """Whether any request is chosen."""
        rules = self._learning()
        return rules.share > 0 and rules.judge is not None and rules.usd_per_day > 0

    def hears(
        self, request: GatewayRequest, options: RoutingOptions, caller: Caller, plan: Plan
    ) -> Hearing | None:
        """What is to be told of the request's answer; None where it is not chosen."""
        rules = self._learning()
        if not self.is_on or not is_sampled(plan.request_id, rules.share):
            return None
        if not may_be_repeated(request, options, caller, plan):
            return None
        judge = self._gateway().planner.columns.names.get(rules.judge or "")
        if judge is not None and not may_be_shown(judge, options, caller):
            return None
        return Hearing(self, request.body)

    def offer(self, exchange: Exchange, body: Mapping[str, Any], text: str) -> None:
        """Puts an answered request into the queue; drops it where others wait already."""
        if len(self._waiting) >= _MOST_WAITING:
            self.outcomes["queue_full"] += 1
            return
        self._waiting.append(answered(exchange, body, text, self._clock()))

    async def work(self) -> None:
        """Grades the requests in the queue, one at a time, while the gateway is quiet. A request
        that has waited too long is forgotten."""
        while self._waiting:
            if self._clock() - self._waiting[0].at_s > _MOST_WAIT_S:
                self._waiting.popleft()
                self.outcomes["too_late"] += 1
            elif not self._gateway().admission.is_quiet:
                return
            else:
                self.outcomes[await self._graded(self._waiting.popleft())] += 1

    async def _graded(self, one: Answered) -> str:
        """What became of it, as a word: errors may quote what was asked."""
        rules = self._learning()
        if not self.is_on or rules.judge is None:
            return "too_late"
        try:
            payer = self._payer(rules.usd_per_day)
            grade = await compared(self._gateway(), payer, one, rules.judge)
            await asyncio.to_thread(partial(add_grades, self._database, [grade]))
        except NotComparedError as error:
            return str(error)
        except BudgetExhaustedError:
            return "no_money"
        except (ApiError, StorageError):
            return "failed"
        return "graded"

    def _payer(self, usd_per_day: Decimal) -> Caller:
        """The caller under whose name the money is counted, in one window for all gateways."""
        if self._caller.limits.budget_usd != usd_per_day:
            limits = KeyLimits(budget_usd=usd_per_day, window_s=_DAY_S)
            self._caller = Caller(KEY, limits=limits)
        return self._caller


class Hearing:
    """Is told the answer to a chosen request. body: in the form of chat completions."""

    def __init__(self, shadow: Shadow, body: Mapping[str, Any]) -> None:
        self._shadow = shadow
        self._body = body

    def whole(self, exchange: Exchange, reply: UpstreamReply) -> None:
        """Called with a whole answer."""
        with harmless():
            text = text_of(reply.body)
            if text is not None:
                self._shadow.offer(exchange, self._body, text)

    def follow(self, exchange: Exchange, stream: UpstreamStream) -> None:
        """Called with a stream before anything of it is read."""
        Listener(stream, partial(self._shadow.offer, exchange, self._body))
