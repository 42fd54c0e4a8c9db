"""The path of a request: score the prompt, decide on a model, send, and decide again on failure."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

import anyio

from p2l_model.types import PromptLeaderboard
from router.choice import Decision
from router.cost import Usage
from server.accounts.accounts import Accounts, WindowShortError
from server.auth.authenticator import Caller
from server.errors import ApiError
from server.gateway.admission import Admission, Place
from server.gateway.budget_left import after, after_failure
from server.gateway.columns import same_models
from server.gateway.deciding import Decider
from server.gateway.failures import from_upstreams
from server.gateway.hedge import Leg, race
from server.gateway.plan import Plan
from server.gateway.planner import Planner
from server.gateway.reserving import Reserving
from server.gateway.routed_request import Exchange, Opening, attempt_of, forget
from server.health import BreakerRules, Health, full_jitter_s
from server.ledger.attempt import Outcome
from server.ledger.entry import Entry
from server.ledger.meter import metered
from server.process.closing import Closing
from server.surfaces.base import GatewayRequest
from server.upstream import tool_names
from server.upstream.base import Upstream, UpstreamReply, UpstreamRequest, UpstreamStream
from server.upstream.errors import Stage, UpstreamError, UpstreamRejectedError

T = TypeVar("T", UpstreamReply, UpstreamStream)
Sender = Callable[[Upstream, UpstreamRequest], Awaitable[T]]


class Gateway:
    """Ties the planner, the router and the upstreams together. One per process."""

    def __init__(
        self,
        planner: Planner,
        upstreams: Mapping[str, Upstream],
        *,
        admission: Admission,
        entropy: random.Random,
        accounts: Accounts,
        retries: int = 0,
        hedge_after_s: float | None = None,
        health: Health | None = None,
        keep: Callable[[Exchange], None] | None = None,
    ) -> None:
        """keep: receives each exchange when its last decision has been made."""
        self.planner = planner
        self.keep = keep or forget
        self._upstreams = upstreams
        self.admission = admission
        # The requests that use this gateway, including those that wait in the queue for a place.
        self.under_way = 0
        self.heavy = planner.heavy
        self._entropy = entropy
        self.accounts = accounts
        self._retries = retries
        self._hedge_after_s = hedge_after_s
        self.health = health or Health(BreakerRules(), time.monotonic, entropy.random)
        self._decide = Decider(self.health, with_solver=planner.needs_solver).decide

    async def admit(self, caller: Caller) -> Place:
        """Waits for a place; the request counts as in progress until the place is left.

        Raises RateLimitedError, OverloadedError.
        """
        self.under_way += 1
        try:
            await self.accounts.limiter.admit(caller)
            place = await self.admission.admit(caller.name)
        except BaseException:
            self.under_way -= 1
            raise
        return Place(partial(self._leave, place))

    def _leave(self, place: Place) -> None:
        self.under_way -= 1
        place.leave()

    def route(self, plan: Plan, leaderboard: PromptLeaderboard, score_ms: float) -> Exchange:
        """Makes the decision only; nothing is sent. Raises ApiError."""
        rng = random.Random(self._seed(plan))
        started = time.perf_counter()
        decision = self._decide(plan, leaderboard, rng)
        exchange = Exchange(plan, leaderboard, decision, rng, [attempt_of(plan, decision)])
        exchange.timings.score_ms = score_ms
        exchange.timings.decide_ms = _ms_since(started)
        return exchange

    async def rehearse(
        self, plan: Plan, leaderboard: PromptLeaderboard, score_ms: float
    ) -> Exchange:
        """The decision that a request would have now, within what is left of its session's budget;
        nothing is sent or reserved. Raises ApiError."""
        exchange = self.route(plan, leaderboard, score_ms)
        if plan.purse is not None and plan.purse.spec is not None:
            await Reserving(self.accounts, self._decide, exchange, leaderboard).rehearse()
        return exchange

    async def complete(self, request: GatewayRequest, plan: Plan) -> tuple[Exchange, UpstreamReply]:
        """Sends the request and returns a whole answer. Raises ApiError."""
        exchange, entry, reply = await self._attempt(request, plan, tool_names.complete)
        if not reply.is_large:
            entry.answer(reply.body)
            return exchange, reply
        entry.read_usage(reply.body)
        try:
            await self.heavy.run(partial(entry.read_words, reply.body))
        finally:
            entry.settle(Outcome.ANSWERED)
        return exchange, reply

    async def stream(
        self, request: GatewayRequest, plan: Plan, opening: Opening | None = None
    ) -> tuple[Exchange, UpstreamStream]:
        """Sends the request and returns a stream whose first event has arrived; the caller closes
        it. opening: receives the progress until then. Raises ApiError."""
        exchange, entry, stream = await self._attempt(
            request, plan, tool_names.open_stream, opening
        )
        card = exchange.decision.card
        stream.on_break = lambda: self.health.broke(card)
        return exchange, metered(stream, entry)

    async def _attempt(
        self,
        request: GatewayRequest,
        plan: Plan,
        send: Sender[T],
        opening: Opening | None = None,
    ) -> tuple[Exchange, Entry, T]:
        """Sends to the chosen model; after a failure decides again among the models that are left.

        The entry of the attempt that succeeded is still open; all others are settled.
        """
        leaderboard, score_ms = await self.planner.leaderboard(plan)
        jobs = self.planner.jobs
        jobs.enter(plan)
        exchange = self.route(plan, leaderboard, score_ms)
        jobs.decided(exchange)
        if opening is not None:
            opening.exchange = exchange
        self.health.retries.request(self.health.clock())
        try:
            entry, reply = await self._sent(exchange, request, leaderboard, send)
        finally:
            self.keep(exchange)
        return exchange, entry, reply

    async def _sent(
        self,
        exchange: Exchange,
        request: GatewayRequest,
        leaderboard: PromptLeaderboard,
        send: Sender[T],
    ) -> tuple[Entry, T]:
        while True:
            entry = await self._reserve(exchange, leaderboard)
            started = began = time.perf_counter()
            try:
                if self._hedge_after_s is not None and exchange.attempts == 1:
                    entry, reply, began = await self._hedged(exchange, request, send, entry)
                else:
                    upstream, outgoing = self._outgoing(request, exchange)
                    with self.health.watching(exchange.decision.card):
                        # the upstream changes this where it did not send
                        outgoing.progress.stage = Stage.SENT
                        reply = await send(upstream, outgoing)
            except UpstreamError as error:
                exchange.timings.upstream_ms += _ms_since(started)
                entry.fail(error)
                self._note_failure(exchange, error)
                await self._decide_again(exchange, leaderboard, exchange.rng)
            except BaseException:
                # The caller has hung up: the provider may have begun on what was sent, and may bill
                # it.
                entry.settle(Outcome.CANCELLED)
                raise
            else:
                exchange.timings.upstream_ms += _ms_since(started)
                self._note_success(exchange, time.perf_counter() - began)
                self.planner.jobs.answered(exchange, request, entry)
                if reply.model not in (None, entry.row.upstream_model):
                    await exchange.note_served(reply)
                return entry, reply

    async def _hedged(
        self, exchange: Exchange, request: GatewayRequest, send: Sender[T], entry: Entry
    ) -> tuple[Entry, T, float]:
        """Sends to two models; returns the faster one's entry, answer and start. Raises
        UpstreamError."""
        number = len(exchange.history) - 1

        async def second() -> Leg[T] | None:
            reserved = await self._reserve_hedge(exchange)
            if reserved is None:
                return None
            try:
                return self._leg(exchange, request, send, reserved)
            except BaseException:
                reserved.settle(Outcome.CANCELLED)
                raise

        first = self._leg(exchange, request, send, entry)
        legs = await race(first, second, self._hedge_after_s or 0.0)
        exchange.settle_race(legs, number)
        last = legs[-1]
        return last.entry, last.task.result(), last.started

    def _leg(
        self, exchange: Exchange, request: GatewayRequest, send: Sender[T], entry: Entry
    ) -> Leg[T]:
        upstream, outgoing = self._outgoing(request, exchange)
        card = exchange.decision.card

        async def run() -> T:
            with self.health.watching(card):
                # the upstream changes this where it did not send
                outgoing.progress.stage = Stage.SENT
                return await send(upstream, outgoing)

        return Leg(exchange.decision, entry, exchange.sent_as, asyncio.create_task(run()))

    async def _reserve_hedge(self, exchange: Exchange) -> Entry | None:
        """Reserves for a second model within what the first may leave of the budget. None where no
        model fits, or where the hedged share of the requests is used up."""
        request, decision = exchange.plan.routing, exchange.decision
        plan = replace(exchange.plan, routing=after(request, decision))
        asked = same_models(plan.catalogue, [decision.model])
        out = dict.fromkeys(asked, "it was already asked for this request")
        try:
            again = self._decide(plan, exchange.leaderboard, exchange.rng, out)
            if not self.health.retries.take(self.health.clock()):
                return None
            exchange.reservations += 1
            entry = await self.accounts.reserve(plan, again, exchange.reservations)
        except (ApiError, WindowShortError):
            return None
        exchange.attempts += 1
        exchange.plan = plan
        exchange.history.append(attempt_of(plan, again))
        exchange.decision = replace(again, budget_usd=decision.budget_usd)
        exchange.take(entry)
        entry.on_usage = self.learns_from(exchange)
        return entry

    async def _reserve(self, exchange: Exchange, leaderboard: PromptLeaderboard) -> Entry:
        """Reserves the money of an attempt. Raises BudgetExhaustedError."""
        reserving = Reserving(self.accounts, self._decide, exchange, leaderboard)
        entry = await reserving.reserve()
        exchange.take(entry)
        entry.on_usage = self.learns_from(exchange)
        return entry

    def _outgoing(
        self, request: GatewayRequest, exchange: Exchange
    ) -> tuple[Upstream, UpstreamRequest]:
        decision = exchange.decision
        upstream = self._upstreams[decision.card.provider]
        outgoing = request.outgoing(
            upstream,
            decision.card.upstream_model,
            decision.max_output_tokens,
            exchange.plan.fits[decision.model],
        )
        exchange.sent_as = outgoing.surface
        outgoing.progress.is_large = exchange.plan.is_large
        outgoing.progress.thinks = self.planner.thinks(decision.model, outgoing.body)
        if exchange.entry is not None:
            exchange.entry.surface = outgoing.surface
            exchange.entry.is_bill = upstream.bills
            exchange.entry.progress = outgoing.progress
        return upstream, outgoing

    def _note_success(self, exchange: Exchange, seconds: float) -> None:
        model, streamed = exchange.decision.model, exchange.plan.streamed
        self.planner.latencies.observe(model, seconds, streamed=streamed)

    def learns_from(self, exchange: Exchange) -> Callable[[Usage], None]:
        """Returns what is to be called with the usage of the answer."""
        plan, decision = exchange.plan, exchange.decision
        card = decision.card

        def answered(usage: Usage) -> None:
            learned, caching = self.planner.learned, self.planner.caching
            name, counted = plan.caller.name, plan.counted_tokens
            kept_s = plan.routing.caching.get(card.name)
            learned.answered(
                *(card, usage, counted, name, plan.body),
                marked=card.name in caching.marks_only,
                prefixes=plan.prefixes,
                kept_s=caching.usual_s(card.name) if kept_s is None else kept_s,
                effort=plan.effort if card.effort is None else card.effort,
            )
            learned.wrote(name, decision, usage.completion_tokens, plan.effort)

        return answered

    def _note_failure(self, exchange: Exchange, error: UpstreamError) -> None:
        exchange.failures[exchange.decision.model] = error
        exchange.history[-1] = exchange.history[-1]._replace(failure=type(error).__name__)
        if isinstance(error, UpstreamRejectedError):
            raise from_upstreams(exchange.failures) from error

    async def _decide_again(
        self, exchange: Exchange, leaderboard: PromptLeaderboard, rng: random.Random
    ) -> None:
        """Chooses another model that fits what is left; else retries the same one after a pause."""
        failures = exchange.failures
        last = list(failures.values())[-1]
        routed = exchange.plan.routed
        if exchange.counted_attempts > (exchange.plan.fallbacks if routed else self._retries):
            raise from_upstreams(failures) from last
        plan = self._left(exchange)
        failed = same_models(plan.catalogue, failures)
        excluded = dict.fromkeys(failed, "it failed for this request")
        try:
            again = self._decide(plan, leaderboard, rng, excluded)
        except ApiError:
            # No other model fits what is left: the caller is told why the first choice failed.
            if not self._may_retry(exchange, last):
                raise from_upstreams(failures) from last
            await anyio.sleep(full_jitter_s(exchange.retries, self.health.chance))
            exchange.retries += 1
            gone = [name for name, failure in failures.items() if not failure.is_retryable]
            lost = dict.fromkeys(same_models(plan.catalogue, gone), "it failed for this request")
            again = self._retry(plan, leaderboard, rng, lost, failures)
        exchange.plan = plan
        exchange.history.append(attempt_of(plan, again))
        exchange.decision = replace(again, budget_usd=exchange.decision.budget_usd)

    def _left(self, exchange: Exchange) -> Plan:
        """The plan, limited to what the last attempt has left of the amount that the request may
        cost."""
        plan, entry = exchange.plan, exchange.entry
        if entry is None:
            return plan
        return replace(plan, routing=after_failure(plan.routing, exchange.decision, entry))

    def _may_retry(self, exchange: Exchange, last: UpstreamError) -> bool:
        if exchange.retries >= self._retries or not last.is_retryable:
            return False
        return self.health.retries.take(self.health.clock())

    def _retry(
        self,
        plan: Plan,
        leaderboard: PromptLeaderboard,
        rng: random.Random,
        lost: Mapping[str, str],
        failures: Mapping[str, UpstreamError],
    ) -> Decision:
        try:
            return self._decide(plan, leaderboard, rng, lost)
        except ApiError as error:
            raise from_upstreams(failures) from error

    def _seed(self, plan: Plan) -> int:
        if plan.seed is None:
            plan.seed = self._entropy.getrandbits(63)
        return plan.seed

    async def close(self) -> None:
        """Closes all upstreams."""
        async with Closing() as closing:
            for name, upstream in self._upstreams.items():
                closing.at_the_end(f"provider {name}", upstream.close)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000.0
