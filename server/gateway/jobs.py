"""Connects requests with their sessions: before a decision, and when a model has answered."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from p2l_model.types import PromptLeaderboard
from server.accounts.purses import Purses
from server.auth.authenticator import Caller
from server.config.settings.routing import SessionSettings
from server.gateway.plan import Plan
from server.gateway.prompt_cache import Prefixes
from server.gateway.routed_request import Exchange
from server.ledger.purse import Purse
from server.process.heavy import Heavy
from server.sessions.sessions import Sessions, Task, Visit
from server.surfaces.base import GatewayRequest
from server.surfaces.routing_options import RoutingOptions

# The values of x-p2l-kept: the model that made the calls, the draw of an earlier request, or a new
# one.
TOOL_LOOP: Final = "tool_loop"
DRAW: Final = "draw"
NEW: Final = "new"


class Terms(NamedTuple):
    """What a session contributes to a decision. kept, kept_limit_usd, order: see RoutingRequest.
    seed: that of the draw, None where there is none yet. said: the value of x-p2l-kept where no
    model is kept, None where there are no sessions."""

    kept: str | None
    kept_limit_usd: Decimal | None
    order: tuple[str, ...]
    seed: int | None
    said: str | None


class Calling(Protocol):
    """An answer that may call tools. on_call: called with the id of each call."""

    on_call: Callable[[str], None] | None


class Jobs:
    """The sessions of the gateway. rules: as configured; previous: the object whose sessions are
    continued. purses: the money of sessions. clock: monotonic seconds."""

    def __init__(
        self,
        rules: SessionSettings,
        entropy: random.Random,
        previous: Jobs | None = None,
        purses: Purses | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_on = rules.enabled
        self._rules = rules
        self._clock = clock
        self._purses = purses
        self._sessions: Sessions = Sessions(entropy) if previous is None else previous._sessions

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
    ) -> tuple[Prefixes | None, Visit | None, Purse | None]:
        """Returns the hashes of the conversation, its session and the session's money. tell:
        computes the hashes of a caller's body. heavy: its threads are used for a large body. A
        model that is asked for by name has a session only where its money counts and nothing else
        names it. Raises OverloadedError."""
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
        own_usd = caller.limits.session_budget_usd if given_usd is None else given_usd
        # most requests have no session's money: nothing more is called for them
        if purses is None or (
            name is None and own_usd is None and purses.default_usd is None and not purses.known
        ):
            return prefixes, visit, None
        seed = None if visit is None else visit.session.seed
        return prefixes, visit, await purses.of(caller, name, seed, given_usd)

    def terms(
        self,
        visit: Visit | None,
        seed: int | None,
        budget_usd: Decimal | None,
        purse: Purse | None = None,
    ) -> Terms:
        """What the session contributes to the decision. seed: the one in the request; budget_usd:
        the budget of the decision. purse: limits the cost of a request where the session's money is
        short."""
        if visit is None:
            return Terms(None, None, (), seed, None)
        branch = visit.calling if self._rules.tool_loop == "stay" else None
        model = limit_usd = None
        if branch is not None:
            model, before_usd = branch.model, branch.budget_usd
            if budget_usd is not None and (before_usd is None or budget_usd < before_usd):
                limit_usd = budget_usd
            if purse is not None and purse.request_usd is not None:
                # At the end of its budget a job gets cheap models before it is refused.
                short_usd = purse.request_usd
                limit_usd = short_usd if limit_usd is None else min(limit_usd, short_usd)
        if seed is not None:
            return Terms(model, limit_usd, (), seed, NEW)
        session = visit.session
        return Terms(model, limit_usd, session.order, session.seed, NEW if visit.is_new else DRAW)

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
        if self._sessions.enter(visit, self._clock()) and plan.seed == own:
            session = visit.session
            plan.seed, plan.kept = session.seed, DRAW
            plan.routing = replace(plan.routing, order=session.order)

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
        entry.on_call = partial(self._sessions.called, visit, branch)
