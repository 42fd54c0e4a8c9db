"""Connects requests with their sessions: before a decision, and when a model has answered."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, Protocol

from p2l_model.types import PromptLeaderboard
from router.account import lowered
from router.decision import Decision
from router.request import BudgetMode
from server.accounts.purses import Purses
from server.accounts.redis_client import RedisClient
from server.auth.authenticator import Caller
from server.config.settings.routing import SessionSettings
from server.gateway.kept_by import DRAW, NEW
from server.gateway.plan import Plan
from server.gateway.prompt_cache import Prefixes
from server.gateway.routed_request import Exchange
from server.gateway.shared_sessions import SharedSessions
from server.ledger.purse import Purse
from server.process.heavy import Heavy
from server.sessions.job_lengths import JobLengths
from server.sessions.key_accounts import KeyAccounts
from server.sessions.sessions import Sessions, Task, Visit
from server.surfaces.base import GatewayRequest
from server.surfaces.routing_options import RoutingOptions


class Terms(NamedTuple):
    """What a session contributes to a decision. kept: see RoutingRequest. seed: that of the draw,
    None where there is none yet. said: the value of x-p2l-kept where no model is kept, None where
    there are no sessions. rest: further fields of RoutingRequest."""

    kept: str | None
    seed: int | None
    said: str | None
    rest: Mapping[str, Any]


class Calling(Protocol):
    """An answer that may call tools. on_call: called with the id of each call."""

    on_call: Callable[[str], None] | None


class Jobs:
    """The sessions of the gateway. rules: as configured; previous: the object whose sessions are
    continued. purses: the money of sessions. clock: monotonic seconds. redis: where several
    processes share the sessions; that of `previous` stays."""

    def __init__(
        self,
        rules: SessionSettings,
        entropy: random.Random,
        previous: Jobs | None = None,
        purses: Purses | None = None,
        clock: Callable[[], float] = time.monotonic,
        redis: RedisClient | None = None,
    ) -> None:
        self.is_on = rules.enabled
        self._rules = rules
        self._clock = clock
        self._purses = purses
        self._sessions: Sessions = Sessions(entropy) if previous is None else previous._sessions
        self._lengths: JobLengths = JobLengths() if previous is None else previous._lengths
        self._accounts: KeyAccounts = KeyAccounts() if previous is None else previous._accounts
        self.shared: SharedSessions | None = None if previous is None else previous.shared
        if previous is None and redis is not None:
            self.shared = SharedSessions(redis, self._sessions, clock)

    def visit(
        self,
        caller: str,
        name: str | None,
        request: GatewayRequest,
        body: Mapping[str, Any],
        prefixes: Sequence[bytes],
    ) -> Visit | None:
        """Finds the session of a request; changes nothing. name: of its session, where it has one.
        body: in the form of chat completions; prefixes: of its messages. None where it has no
        messages, or where sessions are turned off."""
        messages = body.get("messages")
        if not self.is_on or messages is None:
            return None
        return self._sessions.visit(
            caller,
            name,
            messages,
            prefixes,
            now_s=self._clock(),
            ttl_s=self._rules.ttl_s,
            follows=None if request.turn is None else request.turn.previous_id,
        )

    async def found(
        self,
        request: GatewayRequest,
        body: Mapping[str, Any],
        options: RoutingOptions,
        caller: Caller,
        *,
        tell: Callable[[str, Mapping[str, Any]], Prefixes],
        heavy: Heavy | None,
        is_routed: bool,
        is_dry: bool = False,
    ) -> tuple[Prefixes | None, Visit | None, Purse | None]:
        """Returns the hashes of the conversation, its session and the session's money. tell:
        computes the hashes of a caller's body. heavy: its threads are used for a large body. A
        model that is asked for by name has a session only where its money counts and nothing else
        names it. is_dry: the request is not sent, and opens no session. Raises OverloadedError."""
        name, purses, given_usd = options.session, self._purses, options.session_budget_usd
        is_wanted = self.is_on and (
            is_routed
            or (name is None and purses is not None and purses.limit(caller, given_usd) is not None)
        )
        prefixes = visit = None
        if heavy is not None:
            prefixes = await heavy.run(partial(tell, caller.name, body))
            if is_wanted:
                found = partial(self.visit, caller.name, name, request, body, prefixes.messages)
                visit = await heavy.run(found)
        elif is_wanted:
            prefixes = tell(caller.name, body)
            visit = self.visit(caller.name, name, request, body, prefixes.messages)
        if visit is not None and prefixes is not None and self.shared is not None:
            again = partial(self.visit, caller.name, name, request, body, prefixes.messages)
            if await self._was_missing(visit, request, body, prefixes, is_dry=is_dry):
                visit = again() if heavy is None else await heavy.run(again)
        own_usd = caller.limits.session_budget_usd if given_usd is None else given_usd
        is_told = visit is not None and visit.session.given_usd is not None
        # most requests have no session's money: nothing more is called for them
        is_free = name is None and own_usd is None and not is_told
        if purses is None or (is_free and purses.default_usd is None and not purses.known):
            return prefixes, visit, None
        session = None if visit is None else visit.session
        seed, told_usd = (None, None) if session is None else (session.seed, session.given_usd)
        return prefixes, visit, await purses.of(caller, name, seed, given_usd, told_usd)

    async def _was_missing(
        self,
        visit: Visit,
        request: GatewayRequest,
        body: Mapping[str, Any],
        prefixes: Prefixes,
        *,
        is_dry: bool,
    ) -> bool:
        """Whether another process has told something about the request that was not known here."""
        follows = None if request.turn is None else request.turn.previous_id
        missing = self._sessions.missing(visit, body["messages"], prefixes.messages, follows)
        if missing is None or self.shared is None:
            return False
        opens = None if is_dry or not visit.is_new else visit.session
        return await self.shared.find(missing, opens, prefixes.tools)

    def terms(
        self,
        visit: Visit | None,
        seed: int | None,
        budget_usd: Decimal | None,
        mode: BudgetMode = BudgetMode.EXPECTED,
        purse: Purse | None = None,
    ) -> Terms:
        """What the session contributes to the decision. seed: the one in the request; budget_usd,
        mode: the budget of the decision. purse: limits the cost of a request where the session's
        money is short."""
        if visit is None:
            return Terms(None, seed, None, {})
        session = visit.session
        kept, limit_usd = self._loop(visit, budget_usd, purse)
        rest: dict[str, Any] = {
            "kept_limit_usd": limit_usd,
            "held": None if visit.branch is None else visit.branch.model,
            "min_gain": self._rules.min_gain,
            "further_requests": self._lengths.further(visit.caller, session.n_requests + 1),
        }
        if seed is not None:
            return Terms(kept, seed, NEW, rest)
        rest["order"] = session.order
        if budget_usd is not None and mode is BudgetMode.EXPECTED:
            visit.budget_share = session.budget_share
            if visit.budget_share is None:
                visit.budget_share = self._accounts.share(visit.caller)
            rest["draw_budget_usd"] = _lowered(budget_usd, visit.budget_share)
        return Terms(kept, session.seed, NEW if visit.is_new else DRAW, rest)

    def _loop(
        self, visit: Visit, budget_usd: Decimal | None, purse: Purse | None
    ) -> tuple[str | None, Decimal | None]:
        """The model that stays in a tool loop, and the highest expected cost at which it does."""
        branch = visit.calling if self._rules.tool_loop == "stay" else None
        if branch is None:
            return None, None
        limit_usd, before_usd = None, branch.budget_usd
        if budget_usd is not None and (before_usd is None or budget_usd < before_usd):
            limit_usd = budget_usd
        if purse is not None and purse.request_usd is not None:
            # At the end of its budget a job gets cheap models before it is refused.
            short_usd = purse.request_usd
            limit_usd = short_usd if limit_usd is None else min(limit_usd, short_usd)
        return branch.model, limit_usd

    def known(self, plan: Plan, models: Sequence[str]) -> PromptLeaderboard | None:
        """The leaderboard of the task, where it was scored for an earlier request of the same tool
        loop. models: the current names of leaderboards."""
        visit = plan.visit
        task = None if visit is None or visit.results is None else visit.kept_task
        if visit is None or task is None or task.board is None or task.board.models != models:
            return None
        visit.task, plan.marginal, plan.is_scored_before = task, task.is_marginal, True
        return task.board

    def scored(self, plan: Plan, board: PromptLeaderboard) -> PromptLeaderboard:
        """Returns the leaderboard, which is stored if the answer calls tools."""
        if plan.visit is not None:
            plan.visit.task = Task(board, plan.marginal)
        return board

    def enter(self, plan: Plan) -> None:
        """Records that the request is decided now; the decision will count for its session."""
        visit = plan.visit
        if visit is None:
            return
        own = visit.session.seed
        joins, session = self._sessions.enter(visit, self._clock()), visit.session
        if joins and plan.seed == own:
            plan.seed, plan.kept, routing = session.seed, DRAW, plan.routing
            share, budget_usd = session.budget_share, routing.budget_usd
            if share is not None and budget_usd is not None and visit.budget_share is not None:
                visit.budget_share = share
                routing = replace(routing, draw_budget_usd=_lowered(budget_usd, share))
            plan.routing = replace(routing, order=session.order)
        if plan.purse is not None and plan.purse.given_usd is not None:
            session.given_usd = plan.purse.given_usd
        if plan.routed:
            session.n_requests += 1
            self._lengths.requested(visit.caller, session.n_requests)
            if session.budget_share is None:
                session.budget_share = visit.budget_share

    def decided(self, exchange: Exchange) -> None:
        """Records the mix from which an entered request was drawn."""
        if exchange.plan.visit is not None:
            self._sessions.drawn(exchange.plan.visit, exchange.decision.mix)

    def answered(self, exchange: Exchange, request: GatewayRequest, entry: Calling) -> None:
        """Records that a model has begun to answer; its calls will be recognised by their ids."""
        visit = exchange.plan.visit
        if visit is None:
            return
        kept_as = None if request.turn is None else request.turn.kept_as
        decision = exchange.decision
        branch = self._sessions.answered(visit, decision.model, kept_as, decision.budget_usd)
        self._book(visit, decision)
        entry.on_call = partial(self._sessions.called, visit, branch)

    def _book(self, visit: Visit, decision: Decision) -> None:
        """Books a request in its caller's account, where it has a draw of its session's within a
        budget."""
        if visit.budget_share is None or decision.budget_usd is None:
            return
        cost_usd = decision.expected_cost_usd
        if visit.is_new:
            # The draw itself is right in the mean, whatever follows: only what follows may not be.
            cost_usd = decision.mix_expected_cost_usd
        if cost_usd is not None:
            self._accounts.book(visit.caller, decision.budget_usd, cost_usd)


def _lowered(budget_usd: Decimal, share: float) -> Decimal | None:
    """The budget of the draw; None where it is the request's own."""
    return lowered(budget_usd, share) if share < 1.0 else None
