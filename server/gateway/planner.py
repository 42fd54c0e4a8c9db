"""Turns a parsed request into the router's input: rules, request shape and candidates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from p2l_model.engine.scorer import FixedScorer, Scorer
from p2l_model.errors import ScoringError
from p2l_model.types import Conversation, PromptLeaderboard
from router.catalog import ModelCard
from router.choice import BudgetMode, Objective, RoutingRequest
from router.constraints import Constraints
from router.cost import RequestShape
from router.objective import is_known
from router.pacing import combined_usd_per_win
from server.auth.authenticator import Caller
from server.config.aliases import Aliases
from server.config.settings import RoutingRules, RoutingSettings, ScorerSettings
from server.gateway.asked import Asked, Found, asked_of, may_use
from server.gateway.cache_rules import CacheRules
from server.gateway.column_places import placed_card
from server.gateway.columns import Columns
from server.gateway.exclusions import (
    allowed_by,
    cannot,
    excluded_by,
)
from server.gateway.failures import from_scoring
from server.gateway.fits import Fitting
from server.gateway.jobs import Jobs, Terms
from server.gateway.latency import Latencies
from server.gateway.learned_costs import Learned
from server.gateway.local_frame import Frame, frame_of
from server.gateway.local_layers import LocalLayers, Shifts
from server.gateway.output_lengths import expected_thoughts
from server.gateway.places import Places, leaderboard_of_one
from server.gateway.plan import Plan
from server.gateway.served_model import ServedModels
from server.gateway.worth import Worth, as_configured, own_worth
from server.ledger.purse import Purse
from server.model_facts import ModelFacts
from server.process.heavy import Heavy
from server.process.request_id import Entropy
from server.sessions.sessions import Visit
from server.surfaces.base import GatewayRequest
from server.surfaces.input_size import Counted
from server.surfaces.routing_options import RoutingOptions
from server.trials.arms import Arm, Trials, trials_of
from server.upstream.base import Fit, Upstream
from server.upstream.patience import thinks
from server.wire.service_tier import other_tiers
from server.wire.surface import Surface

# Counting is exact up to this length; beyond it, tokenising costs more than exactness is worth.
_EXACT_COUNT_CHARS = 20_000


class Planner:
    """Plans requests by the catalogue, the rules and the scorer. upstreams: by provider name; where
    one is missing (a dry decision), its models count as able to express everything. aliases: other
    names, and patterns of names, for models and profiles. worth: what a win is worth to a caller,
    given what is configured and what is left of its budgets. facts: what is known about each model,
    by catalogue name. private: names of the providers marked private. previous: the planner that
    this one replaces, whose learnt state it takes over. jobs: the sessions, by default new ones."""

    def __init__(
        self,
        catalogue: Sequence[ModelCard],
        routing: RoutingSettings,
        scoring: ScorerSettings,
        scorer: Scorer,
        upstreams: Mapping[str, Upstream] | None = None,
        aliases: Mapping[str, str] | None = None,
        worth: Worth = as_configured,
        facts: Mapping[str, ModelFacts] | None = None,
        private: Collection[str] = (),
        previous: Planner | None = None,
        jobs: Jobs | None = None,
    ) -> None:
        self.catalogue: Mapping[str, ModelCard] = {}
        self.caching: CacheRules = CacheRules()
        self.columns = Columns()
        self._cards: tuple[ModelCard, ...] = ()
        self._facts: Mapping[str, ModelFacts] = {}
        self._thoughts: dict[str, Mapping[str, float]] = {}
        self._frame: Frame | None = None
        self._private = frozenset(private)
        self._names = ServedModels()
        self.scorer = scorer
        self._fitting = Fitting(upstreams or {}, {})
        self.serve(catalogue, facts)
        self._routing = routing
        self._has_windows = bool(routing.window_budgets)
        self._scoring = scoring
        self._aliases = Aliases(aliases or {})
        self._entropy = Entropy()
        self.latencies: Latencies = Latencies() if previous is None else previous.latencies
        self.heavy: Heavy = Heavy() if previous is None else previous.heavy
        self.learned: Learned = Learned() if previous is None else previous.learned
        self.local: LocalLayers = LocalLayers() if previous is None else previous.local
        stopped = frozenset[str]() if previous is None else previous.trials.stopped
        self.trials: Trials = Trials(trials_of(routing), stopped)
        self.jobs: Jobs = Jobs(routing.sessions, self._entropy) if jobs is None else jobs
        self._worth = worth

    def serve(
        self, catalogue: Sequence[ModelCard], facts: Mapping[str, ModelFacts] | None = None
    ) -> None:
        """Uses this catalogue from now on; existing plans keep theirs. facts: None keeps the
        current ones."""
        if facts is not None:
            # Requests are not adapted to a model about which nothing is known.
            self._facts = {name: one for name, one in facts.items() if one.known != "nothing"}
        self._served = tuple(catalogue)
        self._place()
        self._fitting = Fitting(self._fitting.upstreams, self._facts)
        self._thoughts.clear()

    def _place(self) -> None:
        """Gives every model a column of the leaderboard, once its columns are known."""
        columns = self._columns = self.scorer.models
        cards, models = self._served, Columns(self._served).models
        if columns:
            place = partial(placed_card, Places(columns, self.scorer.marginal), self._facts)
            cards = tuple(map(place, cards))
            models = {name: place(card) for name, card in models.items()}
        self.catalogue = {card.name: card for card in cards}
        self.columns = Columns(cards, models)
        self._facts = self.columns.facts(self._facts)
        providers = self._fitting.upstreams.items()
        others = {name for name, one in providers if not one.speaks(Surface.MESSAGES)}
        self.caching = CacheRules([*cards, *models.values()], self._facts, others)
        self._cards = cards
        self._frame = frame_of(cards, columns, self.scorer.marginal) if columns else None
        plain = [card for card in cards if card.effort is None]
        self._names = ServedModels([*plain, *models.values()])

    async def plan(
        self,
        request: GatewayRequest,
        options: RoutingOptions,
        caller: Caller,
        *,
        is_large: bool = False,
        is_dry: bool = False,
    ) -> Plan:
        """Plans a request. is_large: its body must not be processed on the event loop. is_dry: it
        is not sent. Raises NotFoundError for an unknown model, InvalidRequestError for bad
        options."""
        if self.scorer.models != self._columns:
            self._place()
        routing, cards, names = self._routing, self._cards, self.columns.names
        asked = asked_of(request, options, caller, self._aliases, routing, names, cards)
        found = await self._found(asked, is_large=is_large, is_dry=is_dry)
        shape = await self._shape(request, found.fits, found.counted)
        visit = None if asked.direct else found.visit
        session = self.jobs.terms(visit, options.seed, *asked.budget, found.purse)
        arm, allowed = self._allowed(asked, caller, visit)
        return Plan(
            request_id=self._entropy.request_id(),
            caller=caller,
            conversation=found.conversation,
            routing=self._routing_request(asked, found, shape, session, allowed),
            catalogue=asked.catalogue,
            routed=asked.direct is None,
            seed=session.seed,
            explain=options.explain,
            fallbacks=asked.rules.fallbacks,
            streamed=request.stream,
            fits=found.fits,
            body=asked.body,
            effort=asked.effort,
            prefixes=found.prefixes,
            is_large=is_large,
            counted_tokens=shape.input_tokens if _is_exact(found.counted) else 0,
            named=asked.named,
            served=self._names,
            tags=options.tags,
            visit=found.visit,
            kept=session.said,
            purse=found.purse,
            profile=asked.profile,
            trial=arm,
            own_usd_per_win=own_worth(asked.rules, caller),
        )

    async def _found(self, asked: Asked, *, is_large: bool, is_dry: bool) -> Found:
        request, caller = asked.request, asked.caller
        prefixes, visit, purse = await self.jobs.found(
            *(request, asked.body, asked.options, caller),
            tell=self.learned.prefixes,
            heavy=self.heavy if is_large else None,
            is_routed=asked.direct is None,
            is_dry=is_dry,
        )
        has_purse = purse is not None and purse.spec is not None
        in_window = self._has_windows or caller.limits.budget_usd is not None or has_purse
        pays_for_cap = asked.is_hard or in_window or caller.limits.max_request_usd is not None
        is_hard = asked.mode is BudgetMode.HARD
        bounded = in_window or asked.budget_usd is not None or is_hard or caller.is_bounded
        if is_large:
            weighed = await self.heavy.run(partial(self._weighed, asked, bounded))
        else:
            weighed = self._weighed(asked, bounded)
        return Found(prefixes, visit, purse, in_window, pays_for_cap, *weighed)

    def _allowed(
        self, asked: Asked, caller: Caller, visit: Visit | None
    ) -> tuple[Arm | None, tuple[str, ...] | None]:
        """The arm of the profile's trial, and the models that may answer; None for all."""
        if asked.direct is not None:
            return None, (asked.direct.name,)
        allowed = allowed_by(asked.options, asked.rules, caller, self.columns)
        if not self.trials.by_profile:
            return None, allowed
        seed = None if visit is None else visit.session.seed
        names = [card.name for card in asked.catalogue]
        return self.trials.split(asked.profile, seed, allowed, names, self.columns.expanded)

    def _routing_request(
        self,
        asked: Asked,
        found: Found,
        shape: RequestShape,
        session: Terms,
        allowed: tuple[str, ...] | None,
    ) -> RoutingRequest:
        request, caller, direct, rules = asked.request, asked.caller, asked.direct, asked.rules
        columns, effort, pinned = self.columns, asked.effort, asked.pinned
        thoughts = self._thoughts_at(effort)
        if (found.has_purse or asked.is_hard) and shape.max_output_tokens is not None:
            shape = replace(shape, thinkers=tuple(thoughts))
        options, fits = asked.options, found.fits
        excluded = excluded_by(options, asked.catalogue, fits, columns, self._private)
        excluded |= cannot(fits, request, pays_for_cap=found.pays_for_cap)
        cached = self.learned.cached_tokens(
            caller.name, asked.body, found.prefixes, effort, self.caching.effort_decides_not
        )
        return RoutingRequest(
            shape=shape,
            input_tokens=self.learned.input_tokens(
                asked.catalogue, shape.input_tokens, caller.name
            ),
            cached_tokens=columns.cached_tokens(cached, self.caching.effort_keeps),
            caching=self.caching.lifetimes(request, shape.input_tokens),
            thought_tokens=thoughts,
            length_factors=columns.length_factors(self.learned.lengths, effort, caller.name),
            budget_usd=asked.budget_usd,
            budget_mode=asked.mode,
            allowed=allowed,
            opponents=None if direct else rules.opponent_weights,
            excluded=columns.excluded(fits, pinned) | excluded,
            usd_per_win=None if direct else self._worth_of_a_win(rules, caller, found.purse),
            objective=rules.objective,
            ceiling_usd=caller.limits.max_request_usd,
            in_window=found.in_window,
            constraints=None if direct else self._constraints(rules, streamed=request.stream),
            kept=columns.kept(session.kept, pinned),
            **columns.rest(session.rest, pinned),
        )

    def meant(self, name: str) -> str:
        """The model or profile that a caller's name for it stands for; else the name itself."""
        return self._aliases.meant(name, self.columns.names)

    async def leaderboard(self, plan: Plan) -> tuple[PromptLeaderboard, float]:
        """The prompt's leaderboard and the milliseconds that scoring took. Raises ApiError.

        A model that is asked for by name is not scored: there is nothing to choose.
        """
        if not plan.routed:
            return leaderboard_of_one(plan.catalogue[0]), 0.0
        started = time.perf_counter()
        scored = self.jobs.known(plan, self.scorer.models)
        if scored is None:
            scored = self.jobs.scored(plan, await self._scored(plan))
        elif plan.marginal:
            _take_marginal(plan, scored)
        if self._frame is not None:
            self._use_local(plan, scored, self._frame)
        return scored, (time.perf_counter() - started) * 1000.0

    def frame(self) -> Frame | None:
        """The catalogue's models on the leaderboard; None where nothing can be learnt of them."""
        if self.scorer.models != self._columns:
            self._place()
        return self._frame

    def _use_local(self, plan: Plan, board: PromptLeaderboard, frame: Frame) -> None:
        """Moves the models to where this gateway's own answers put them; without these, the models
        without a column to where their relative's puts them on this prompt."""
        layers = self.local
        scope = layers.scope(plan.caller.name, plan.profile)
        shifts = None
        if scope is not None:
            shifts = layers.shifts(scope, frame, board, is_absolute=False)
        if scope is None or shifts is None:
            borrowed = frame.borrowed_shifts(board)
            if borrowed:
                plan.routing = replace(plan.routing, coefficient_shifts=borrowed)
        else:
            good: Shifts | None = None
            if plan.routing.objective is Objective.P_GOOD:
                good = layers.shifts(scope, frame, board, is_absolute=True)
            plan.routing = replace(plan.routing, coefficient_shifts=shifts, value_shifts=good or {})
            plan.local = layers.used(scope)

    def thinks(self, model: str, body: Mapping[str, Any]) -> bool:
        """Whether a catalogue model thinks before it answers this body, as it will be sent."""
        facts = self._facts.get(model)
        return thinks(body, None if facts is None else facts.thinking)

    def _thoughts_at(self, effort: str) -> Mapping[str, float]:
        found = self._thoughts.get(effort)
        if found is None:
            at_effort = expected_thoughts(self._facts, effort)
            found = self._thoughts[effort] = self.columns.thoughts(at_effort, self._facts)
        return found

    def visible(self, caller: Caller) -> list[ModelCard]:
        """The models that this caller may ask for, and each model's columns after it."""
        return [card for card in self.columns.listed() if may_use(caller, card)]

    async def _scored(self, plan: Plan) -> PromptLeaderboard:
        if isinstance(self.scorer, FixedScorer):
            return self.scorer.marginal  # nothing is waited for, so no timer is needed
        try:
            async with asyncio.timeout(self._scoring.timeout_ms / 1000.0):
                return (await self.scorer.score(plan.conversation)).leaderboard
        except (ScoringError, TimeoutError) as error:
            marginal = self.scorer.marginal
            if self._scoring.on_failure == "error" or marginal is None:
                raise from_scoring(ScoringError(str(error))) from error
            plan.marginal = True
            _take_marginal(plan, marginal)
            return marginal

    @property
    def needs_solver(self) -> bool:
        """Whether any configured rule has constraints."""
        return self._routing.has_constraints

    def _constraints(self, rules: RoutingRules, *, streamed: bool) -> Constraints | None:
        if rules.constraints is None:
            return None
        return rules.constraints.rows(self.latencies.of(streamed=streamed))

    def _worth_of_a_win(
        self, rules: RoutingRules, caller: Caller, purse: Purse | None
    ) -> Decimal | None:
        """What is configured, in USD; less where budgets run short."""
        worth = self._worth(caller, own_worth(rules, caller))
        return worth if purse is None else combined_usd_per_win(worth, [purse.price])

    def _weighed(self, asked: Asked, bounded: bool) -> tuple[dict[str, Fit], Counted, Conversation]:
        """Everything that requires a pass over the whole request."""
        request, effort = asked.request, asked.options.effort
        out = self.columns.ruled_out(asked.pinned)
        fits = self._fitting.fits(
            request, asked.catalogue, bounded=bounded, effort=effort, ruled_out=out
        )
        return fits, request.counted(), request.conversation

    async def _shape(
        self, request: GatewayRequest, fits: Mapping[str, Fit], counted: Counted
    ) -> RequestShape:
        return RequestShape(
            input_tokens=await self._count(counted) + counted.further,
            input_tokens_upper_bound=counted.bound,
            max_output_tokens=request.max_output_tokens,
            n=request.n,
            needs=request.needs,
            tier=request.tier,
            other_tiers=other_tiers(request.native or request.body, request.tier, fits),
            thinking_tokens={
                n: f.thinking_tokens for n, f in fits.items() if f.thinking_tokens > 0
            },
        )

    async def _count(self, counted: Counted) -> int:
        if len(counted.text) > _EXACT_COUNT_CHARS:
            return (counted.n_bytes + 3) // 4
        return await self.scorer.count_tokens(counted.text)


def _take_marginal(plan: Plan, marginal: PromptLeaderboard) -> None:
    if not is_known(plan.routing.objective, marginal):
        plan.routing = replace(plan.routing, objective=Objective.WIN_RATE)


def _is_exact(counted: Counted) -> bool:
    return counted.is_plain and len(counted.text) <= _EXACT_COUNT_CHARS
