"""Recorded jobs under one rule: routed by the gateway's own code, never changing, one model."""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Protocol

from p2l_model.engine.scorer import ScoredPrompt
from p2l_model.errors import DataError
from p2l_model.types import Conversation, PromptLeaderboard
from router.catalog import ModelCard
from router.cost import Usage, actual_cost_usd
from server.accounts.accounts import Accounts, NoLedger
from server.auth.authenticator import Caller
from server.config.settings import ScorerSettings
from server.config.settings.breaker_rules import BreakerRules
from server.config.settings.routing import RoutingSettings
from server.errors import ApiError
from server.gateway.admission import Admission
from server.gateway.gateway import Gateway
from server.gateway.jobs import Jobs
from server.gateway.learned_costs import Learned
from server.gateway.planner import Planner
from server.gateway.routed_request import Exchange
from server.health import Health
from server.model_facts import ModelFacts
from server.offline.jobs.provider_caches import ProviderCaches
from server.offline.jobs.tally import Tally
from server.offline.jobs.turns import Place, Predicted, Turn
from server.surfaces.routing_options import RoutingOptions

_MOST: Final = 50_000


@dataclass(frozen=True, slots=True)
class Scene:
    """What all runs share. cards: the catalogue; facts: by catalogue name."""

    cards: Sequence[ModelCard]
    facts: Mapping[str, ModelFacts]
    scoring: ScorerSettings


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
    """What the providers bill in one run, and what it is worth."""

    def __init__(self, scene: Scene) -> None:
        self.tally = Tally()
        self._cards = {card.name: card for card in scene.cards}
        self._caches = ProviderCaches(self._cards, scene.facts)

    def bill(self, turn: Turn, model: str) -> Step:
        """Bills an answer. Raises DataError where the model has no price."""
        line, card = turn.line, self._cards[model]
        output = _output_tokens(turn, model)
        cached = self._caches.asked(turn, model)
        usage = Usage(
            prompt_tokens=line.input_tokens,
            completion_tokens=output,
            cached_tokens=cached.read,
            cache_write_tokens=cached.written,
            cache_write_1h_tokens=cached.written_1h,
            reasoning_tokens=min(output, line.thinking_tokens),
        )
        cost_usd = actual_cost_usd(card, usage)
        if cost_usd is None:
            raise DataError(f"models.{model}: has no price: set one, or leave the model out")
        predicted = turn.predicted.get(model)
        rate = 0.0 if predicted is None else predicted.win_rate
        self.tally.answered(turn, model, usage, cost_usd, rate)
        return Step(turn, model, usage, cost_usd)


def _output_tokens(turn: Turn, model: str) -> int:
    """The recorded length, by how much longer this model's answers are expected to be."""
    recorded, own = turn.predicted.get(turn.line.model), turn.predicted.get(model)
    if recorded is None or own is None or recorded.output_tokens <= 0:
        return turn.line.output_tokens
    return round(turn.line.output_tokens * own.output_tokens / recorded.output_tokens)


class RoutedRun:
    """Requests that the gateway's own code decides: planner, sessions, router and what answers
    teach; only the provider and the clock are simulated."""

    def __init__(self, scene: Scene, routing: RoutingSettings, seed: int) -> None:
        self._billing = Billing(scene)
        self.tally = self._billing.tally
        self._now_s = 0.0
        self._scorer = RecordedScorer()
        self._callers: dict[str, Caller] = {}
        self._answers: OrderedDict[Place, _Answer] = OrderedDict()
        entropy = random.Random(seed)
        self._planner = Planner(
            scene.cards, routing, scene.scoring, self._scorer, facts=scene.facts
        )
        self._planner.jobs = Jobs(routing.sessions, entropy, clock=self._clock)
        self._planner.learned = Learned(self._clock)
        self._gateway = Gateway(
            self._planner,
            {},
            admission=Admission(1),
            entropy=entropy,
            accounts=Accounts(NoLedger()),
            health=Health(BreakerRules(), self._clock, entropy.random),
        )

    async def take(self, turn: Turn) -> Step | None:
        """Decides a request, and bills it."""
        if not turn.is_routed:
            self.tally.by_name(turn.line.cost_usd)
            return None
        exchange = await self.decided(turn)
        if exchange is None:
            self.tally.refused += 1
            return None
        step = self._billing.bill(turn, exchange.decision.model)
        self._told(turn, exchange, step)
        return step

    async def decided(self, turn: Turn) -> Exchange | None:
        """Decides a request; None where no model fits the rule."""
        line = turn.line
        self._now_s, self._scorer.board = turn.now_s, turn.board
        caller = self._callers.setdefault(line.key, Caller(line.key))
        if turn.call is not None and turn.place in self._answers:
            self._answers[turn.place].called(turn.call)
        planner = self._planner
        try:
            options = RoutingOptions(session=line.session)
            plan = await planner.plan(turn.request, options, caller)
            board, score_ms = await planner.leaderboard(plan)
            planner.jobs.enter(plan)
            exchange = self._gateway.route(plan, board, score_ms)
        except ApiError:
            return None
        planner.jobs.decided(exchange)
        self.tally.scored += plan.scoring == "prompt"
        return exchange

    def _told(self, turn: Turn, exchange: Exchange, step: Step) -> None:
        """Teaches the gateway what the answer was."""
        answer = _Answer()
        self._planner.jobs.answered(exchange, turn.request, answer)
        self._gateway.learns_from(exchange)(step.usage)
        self._answers[turn.place] = answer
        self._answers.move_to_end(turn.place)
        if len(self._answers) > _MOST:
            self._answers.popitem(last=False)

    def _clock(self) -> float:
        return self._now_s


@dataclass(slots=True)
class _Answer:
    """An answer whose calls are known once their results come."""

    on_call: Callable[[str], None] | None = None

    def called(self, call: str) -> None:
        if self.on_call is not None:
            self.on_call(call)


class Judge:
    """What the router predicts of every model, whatever a rule then chooses."""

    def __init__(self, scene: Scene, routing: RoutingSettings) -> None:
        free = {"budget_usd": None, "usd_per_win": None, "constraints": None, "models": None}
        off = routing.sessions.model_copy(update={"enabled": False})
        self._run = RoutedRun(scene, routing.model_copy(update={**free, "sessions": off}), 0)

    async def judged(self, turn: Turn) -> Turn:
        """The turn with what is predicted; without it where no model can take the request."""
        exchange = await self._run.decided(turn) if turn.is_routed else None
        if exchange is None:
            return turn
        known = (c for c in exchange.decision.candidates if math.isfinite(c.win_rate))
        predicted = {c.card.name: Predicted(c.win_rate, c.expected_output_tokens) for c in known}
        return replace(turn, predicted=predicted)


class PinnedRun:
    """Never changing: the model of a session's first request answers all of them."""

    def __init__(self, scene: Scene, routing: RoutingSettings, seed: int) -> None:
        self._first = RoutedRun(scene, routing, seed)
        self._billing = Billing(scene)
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
            exchange = await self._first.decided(turn)
            if exchange is None:
                self.tally.refused += 1
                return None
            model = self._models[session] = exchange.decision.model
            self.tally.scored += 1
            if len(self._models) > _MOST:
                self._models.popitem(last=False)
        return self._billing.bill(turn, model)


class SingleRun:
    """One model answers everything."""

    def __init__(self, scene: Scene, model: str) -> None:
        self.model = model
        self._billing = Billing(scene)
        self.tally = self._billing.tally

    async def take(self, turn: Turn) -> Step | None:
        """Bills a request."""
        if not turn.is_routed:
            self.tally.by_name(turn.line.cost_usd)
            return None
        return self._billing.bill(turn, self.model)
