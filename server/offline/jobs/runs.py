"""Recorded jobs under one rule: routed by the gateway's own code, never changing, one model."""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Final, Protocol

from p2l_model.engine.scorer import ScoredPrompt
from p2l_model.errors import DataError
from p2l_model.types import Conversation, PromptLeaderboard
from router.catalog import ModelCard
from router.cost import Usage, actual_cost_usd
from router.decision import Decision
from server.accounts.accounts import Accounts, NoLedger
from server.accounts.pacer import Pacer
from server.accounts.purses import Purses
from server.accounts.windows import MemoryWindows
from server.auth.authenticator import Caller
from server.config.settings import ScorerSettings
from server.config.settings.breaker_rules import BreakerRules
from server.config.settings.routing import RoutingSettings
from server.errors import ApiError
from server.gateway.admission import Admission
from server.gateway.columns import Columns
from server.gateway.gateway import Gateway
from server.gateway.jobs import Jobs
from server.gateway.learned_costs import Learned
from server.gateway.plan import Plan
from server.gateway.planner import Planner
from server.health import Health
from server.model_facts import ModelFacts
from server.offline.jobs.provider_caches import ProviderCaches
from server.offline.jobs.tally import Tally
from server.offline.jobs.turns import Predicted, Turn
from server.offline.jobs.upstream import RecordedUpstream
from server.storage.store import Store
from server.surfaces.routing_options import RoutingOptions

_MOST: Final = 50_000


@dataclass(frozen=True, slots=True)
class Scene:
    """What all runs share. cards: the catalogue; facts: by catalogue name. of_messages: the
    providers that speak the Messages API."""

    cards: Sequence[ModelCard]
    facts: Mapping[str, ModelFacts]
    scoring: ScorerSettings
    of_messages: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a run: the model that answered it, and what that cost."""

    turn: Turn
    model: str
    usage: Usage
    cost_usd: Decimal


class Run(Protocol):
    """One rule, to which the requests are given one after the other."""

    tally: Tally

    async def take(self, turn: Turn) -> Step | None:
        """Decides a request, and bills it. None where no model fits, or where no rule decides."""


class RecordedScorer:
    """Gives the leaderboard that was recorded for the request."""

    def __init__(self) -> None:
        self.board: PromptLeaderboard | None = None

    @property
    def models(self) -> tuple[str, ...]:
        return () if self.board is None else self.board.models

    @property
    def marginal(self) -> PromptLeaderboard | None:
        return self.board

    async def start(self) -> None:
        return None

    async def score(self, conversation: Conversation) -> ScoredPrompt:  # noqa: ARG002
        if self.board is None:
            raise DataError("the request has no leaderboard")
        return ScoredPrompt(self.board, 0)

    async def count_tokens(self, text: str) -> int:  # noqa: ARG002
        return 0

    async def close(self) -> None:
        return None


class Billing:
    """What the providers bill in one run, and what it is worth. budget_usd: of a session, as a
    client of its own would keep it; None: none is kept here."""

    def __init__(self, scene: Scene, budget_usd: Decimal | None = None) -> None:
        self.tally = Tally()
        self._cards = {card.name: card for card in scene.cards}
        self._columns = Columns(scene.cards)
        self._caches = ProviderCaches(self._cards, scene.facts, scene.of_messages)
        self._budget_usd = budget_usd

    def usage(self, turn: Turn, model: str) -> Usage:
        """What the provider of a model counts for a turn; it holds the prompt from now on."""
        line, output = turn.line, self._output_tokens(turn, model)
        cached = self._caches.asked(turn, model)
        return Usage(
            prompt_tokens=line.input_tokens,
            completion_tokens=output,
            cached_tokens=cached.read,
            cache_write_tokens=cached.written,
            cache_write_1h_tokens=cached.written_1h,
            reasoning_tokens=min(output, line.thinking_tokens),
        )

    def bill(self, turn: Turn, model: str) -> Step | None:
        """Bills an answer; None where the session's budget is spent. Raises DataError where the
        model has no price."""
        usage = self.usage(turn, model)
        cost_usd = actual_cost_usd(self._cards[model], usage)
        if cost_usd is None:
            raise DataError(f"models.{model} has no price: set one, or leave the model out")
        spent_usd = self.tally.spent_usd(turn) + cost_usd
        if self._budget_usd is not None and spent_usd > self._budget_usd:
            self.tally.refused += 1
            return None
        return self.answered(turn, model, usage, cost_usd)

    def answered(self, turn: Turn, model: str, usage: Usage, cost_usd: Decimal) -> Step:
        """Adds an answer to the tally."""
        predicted = turn.predicted.get(model)
        rate = 0.0 if predicted is None else predicted.win_rate
        self.tally.answered(turn, model, usage, cost_usd, rate)
        return Step(turn, model, usage, cost_usd)

    def _output_tokens(self, turn: Turn, model: str) -> int:
        """The recorded length, by how much longer this model's answers are expected to be. A model
        that has columns now was recorded at the effort of the request."""
        line = turn.line
        column = self._columns.nearest(line.model, line.effort or "medium")
        was = line.model if line.model in self._cards or column is None else column.name
        recorded, own = turn.predicted.get(was), turn.predicted.get(model)
        if recorded is None or own is None or recorded.output_tokens <= 0:
            return line.output_tokens
        return round(line.output_tokens * own.output_tokens / recorded.output_tokens)


class RoutedRun:
    """Requests on the gateway's own path: planner, sessions, router, reservation and what answers
    teach. Only the provider and the clock are simulated. store: an empty one, in which the money of
    sessions is looked up; needed where sessions have a budget."""

    def __init__(
        self, scene: Scene, routing: RoutingSettings, seed: int, store: Store | None = None
    ) -> None:
        self._billing = Billing(scene)
        self.tally = self._billing.tally
        self._turn: Turn | None = None
        self._scorer = RecordedScorer()
        self._callers: dict[str, Caller] = {}
        self._cards = scene.cards
        accounts = _accounts(routing, store)
        self._gateway = self._built(scene, routing, accounts, random.Random(seed))
        self._planner = self._gateway.planner

    def _built(
        self, scene: Scene, routing: RoutingSettings, accounts: Accounts, entropy: random.Random
    ) -> Gateway:
        providers = {card.provider for card in scene.cards}
        upstreams = {
            name: RecordedUpstream(
                *(name, self._current, partial(self._usage, name)),
                has_messages=name in scene.of_messages,
            )
            for name in providers
        }
        planner = Planner(
            *(scene.cards, routing, scene.scoring, self._scorer, upstreams), facts=scene.facts
        )
        planner.jobs = Jobs(routing.sessions, entropy, None, accounts.purses, self._clock)
        planner.learned = Learned(self._clock)
        return Gateway(
            planner,
            upstreams,
            admission=Admission(1),
            entropy=entropy,
            accounts=accounts,
            health=Health(BreakerRules(), self._clock, entropy.random),
        )

    async def take(self, turn: Turn) -> Step | None:
        """Decides a request, and bills it."""
        if not turn.is_routed:
            self.tally.by_name(turn.line.cost_usd)
            return None
        try:
            plan = await self._plan(turn)
            exchange, _ = await self._gateway.complete(turn.request, plan)
        except ApiError:
            self.tally.refused += 1
            return None
        self.tally.scored += plan.scoring == "prompt"
        entry = exchange.entry
        usage = None if entry is None else entry.row.usage
        if entry is None or usage is None or entry.cost_usd is None:
            raise DataError(f"models.{exchange.decision.model} has no price, or answered nothing")
        return self._billing.answered(turn, exchange.decision.model, usage, entry.cost_usd)

    async def decided(self, turn: Turn) -> Decision | None:
        """Decides a request and sends nothing; None where no model fits the rule."""
        try:
            plan = await self._plan(turn)
            board, score_ms = await self._planner.leaderboard(plan)
            self._planner.jobs.enter(plan)
            exchange = self._gateway.route(plan, board, score_ms)
        except ApiError:
            return None
        self._planner.jobs.decided(exchange)
        return exchange.decision

    async def _plan(self, turn: Turn) -> Plan:
        line = turn.line
        self._turn, self._scorer.board = turn, turn.board
        caller = self._callers.setdefault(line.key, Caller(line.key))
        return await self._planner.plan(turn.request, RoutingOptions(session=line.session), caller)

    def _current(self) -> Turn:
        if self._turn is None:
            raise DataError("no request has been taken yet")
        return self._turn

    def _usage(self, provider: str, turn: Turn, upstream_model: str, effort: str | None) -> Usage:
        sold = [
            card
            for card in self._cards
            if (card.provider, card.upstream_model) == (provider, upstream_model)
        ]
        asked = next((card for card in sold if card.effort == effort), sold[0])
        return self._billing.usage(turn, asked.name)

    def _clock(self) -> float:
        return 0.0 if self._turn is None else self._turn.now_s


def _accounts(routing: RoutingSettings, store: Store | None) -> Accounts:
    """Accounts that count the money of sessions, where they have a budget; nothing is stored."""
    budget_usd = routing.sessions.budget_usd
    if store is None or budget_usd is None:
        return Accounts(NoLedger())
    pacer = Pacer(store)
    windows = MemoryWindows(store, pacer)
    purses = Purses(store, windows, budget_usd)
    return Accounts(NoLedger(), windows=windows, pacer=pacer, purses=purses)


class Judge:
    """What the router predicts of every model, whatever a rule then chooses."""

    def __init__(self, scene: Scene, routing: RoutingSettings) -> None:
        free = {"budget_usd": None, "usd_per_win": None, "constraints": None, "models": None}
        off = routing.sessions.model_copy(update={"enabled": False})
        self._run = RoutedRun(scene, routing.model_copy(update={**free, "sessions": off}), 0)

    async def judged(self, turn: Turn) -> Turn:
        """The turn with what is predicted; without it where no model can take the request."""
        decision = await self._run.decided(turn) if turn.is_routed else None
        if decision is None:
            return turn
        known = (c for c in decision.candidates if math.isfinite(c.win_rate))
        predicted = {c.card.name: Predicted(c.win_rate, c.expected_output_tokens) for c in known}
        return replace(turn, predicted=predicted)


class PinnedRun:
    """Never changing: the model of a session's first request answers all of them."""

    def __init__(self, scene: Scene, routing: RoutingSettings, seed: int) -> None:
        self._first = RoutedRun(scene, routing, seed)
        self._billing = Billing(scene, routing.sessions.budget_usd)
        self.tally = self._billing.tally
        self._models: OrderedDict[str, str] = OrderedDict()

    async def take(self, turn: Turn) -> Step | None:
        """Decides the first request of a session, and bills every one."""
        if not turn.is_routed:
            self.tally.by_name(turn.line.cost_usd)
            return None
        session = turn.line.session
        model = self._models.get(session)
        if model is None:
            decision = await self._first.decided(turn)
            if decision is None:
                self.tally.refused += 1
                return None
            model = self._models[session] = decision.model
            self.tally.scored += 1
            if len(self._models) > _MOST:
                self._models.popitem(last=False)
        return self._billing.bill(turn, model)


class SingleRun:
    """One model answers everything. budget_usd: of a session."""

    def __init__(self, scene: Scene, model: str, budget_usd: Decimal | None = None) -> None:
        self.model = model
        self._billing = Billing(scene, budget_usd)
        self.tally = self._billing.tally

    async def take(self, turn: Turn) -> Step | None:
        """Bills a request."""
        if not turn.is_routed:
            self.tally.by_name(turn.line.cost_usd)
            return None
        return self._billing.bill(turn, self.model)
