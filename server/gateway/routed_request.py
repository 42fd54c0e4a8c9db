"""The state of one request on its way through the gateway."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from p2l_model.types import PromptLeaderboard
from router.choice import Decision
from router.receipt import Attempt
from server.accounts.accounts import WindowShortError
from server.errors import ApiError, BudgetExhaustedError
from server.gateway.failures import from_upstreams
from server.gateway.hedge import Leg
from server.gateway.kept_by import CACHE, TOOL_LOOP
from server.gateway.plan import Plan
from server.ledger.attempt import Outcome
from server.ledger.entry import Entry
from server.upstream.base import UpstreamReply, UpstreamStream
from server.upstream.errors import UpstreamError, UpstreamModelRefusedError
from server.wire.surface import Surface

_FREE_REFUSALS: Final = 8


@dataclass(slots=True)
class Timings:
    """Milliseconds spent in each step, for the Server-Timing header."""

    score_ms: float = 0.0
    decide_ms: float = 0.0
    upstream_ms: float = 0.0

    @property
    def header(self) -> str:
        """The value of Server-Timing."""
        return (
            f"score;dur={self.score_ms:.2f}, decide;dur={self.decide_ms:.2f}, "
            f"upstream;dur={self.upstream_ms:.2f}"
        )


@dataclass(slots=True)
class Exchange:
    """The state of one request: its plan, the current decision and what has happened so far.

    entry: the ledger entry of the latest attempt; None before the first. sent_as: the surface on
    which it was sent. rng: the random generator of the seed, past the draws so far. history: all
    decisions as the router made them, with the outcome of each. reservations: the number of
    attempts that the ledger has been told of; a refused one keeps its number, since its row is
    settled.
    """

    plan: Plan
    leaderboard: PromptLeaderboard
    decision: Decision
    rng: random.Random
    history: list[Attempt] = field(default_factory=list)
    attempts: int = 0
    reservations: int = 0
    retries: int = 0
    entry: Entry | None = None
    failures: dict[str, UpstreamError] = field(default_factory=dict)
    timings: Timings = field(default_factory=Timings)
    sent_as: Surface = Surface.CHAT

    @property
    def kept(self) -> str | None:
        """Which part of its session decided the request, as in x-p2l-kept; None where it has no
        session."""
        if self.plan.kept is None:
            return None
        held = CACHE if self.decision.is_held else self.plan.kept
        return TOOL_LOOP if self.decision.is_kept else held

    @property
    def counted_attempts(self) -> int:
        """The attempts that count against the fallbacks. A model's refusal of the request takes no
        time and costs nothing, so that a few refusals do not count."""
        refusals = sum(isinstance(e, UpstreamModelRefusedError) for e in self.failures.values())
        return self.attempts - min(refusals, _FREE_REFUSALS)

    def settle_race(self, legs: Sequence[Leg[Any]], number: int) -> None:
        """Records the outcome of a hedged race. The last leg decides: it becomes the current
        attempt, and the last one of the history from `number` on."""
        *others, last = legs
        raced = dict(
            zip(sorted(legs, key=lambda leg: leg.started), self.history[number:], strict=True)
        )
        for leg in others:
            failure = "hedge_lost" if leg.error is None else type(leg.error).__name__
            raced[leg] = raced[leg]._replace(failure=failure)
            if leg.error is not None:
                self.failures[leg.decision.model] = leg.error
        self.history[number:] = [raced[leg] for leg in legs]
        self.decision, self.entry, self.sent_as = last.decision, last.entry, last.sent_as

    def take(self, entry: Entry) -> None:
        """Takes the entry of the next attempt, with the output cap that it pays for."""
        self.entry = entry
        if entry.output_cap is not None:
            self.decision = replace(self.decision, max_output_tokens=entry.output_cap)

    async def note_served(self, reply: UpstreamReply | UpstreamStream) -> None:
        """Checks whether another model answered than the one asked for, and records it."""
        entry, said = self.entry, reply.model or ""
        if entry is None:
            return
        try:
            other = await self.plan.served.other(self.decision.card, said)
        except BaseException:
            # The caller has hung up, and nobody else knows the answer.
            await _settle(entry, reply)
            raise
        if other is not None:
            entry.served(other, said)
            last = self.history[-1]
            self.history[-1] = last._replace(served_model=entry.row.served_model)

    def exhausted(self, short: WindowShortError) -> ApiError:
        """The error where a window is short of money. After a failed attempt, the caller is told of
        that failure instead."""
        if self.failures:
            return from_upstreams(self.failures)
        return BudgetExhaustedError(
            f"The budget of {short.spec.shown} is spent or reserved: {short.available_usd:f} USD "
            f"are left; this request could cost {short.cost}. Wait, or lower its output limit.",
            short.retry_after_s,
        )


async def _settle(entry: Entry, reply: UpstreamReply | UpstreamStream) -> None:
    if isinstance(reply, UpstreamReply):
        entry.answer(reply.body)
    else:
        await reply.aclose()
        entry.settle(Outcome.CANCELLED)


def attempt_of(plan: Plan, decision: Decision) -> Attempt:
    """The record of an attempt that follows a decision."""
    return Attempt(decision, effort=plan.effort_sent(decision.card))


@dataclass(slots=True)
class Opening:
    """A stream that waits for its first event. exchange: set once a model has been chosen."""

    exchange: Exchange | None = None


def forget(_: Exchange) -> None:
    """Drops the exchange, where no receipts are kept."""
