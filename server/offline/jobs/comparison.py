"""Recorded jobs under several rules, at several budgets and values of a win."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from p2l_model.errors import DataError
from server.catalogue.cards import build_catalogue
from server.config.configured_facts import facts_of_models
from server.config.settings import Settings, StorageSettings
from server.config.settings.routing import RoutingSettings
from server.offline.jobs.line import JobRequest
from server.offline.jobs.runs import Judge, PinnedRun, RoutedRun, Run, Scene, SingleRun
from server.offline.jobs.tally import Tally
from server.offline.jobs.turns import Conversations
from server.offline.simulate.curves import envelope
from server.storage.database import Database
from server.storage.store import Store

SESSIONS: Final = "sessions"
NEVER: Final = "never changing"
EACH: Final = "each request"
SINGLE: Final = "best single model"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the router is told. budget_usd: of a request, in the mean; usd_per_win: what a win is
    worth; session_budget_usd: of all requests of a session; None: as configured."""

    budget_usd: Decimal | None = None
    usd_per_win: Decimal | None = None
    session_budget_usd: Decimal | None = None

    @property
    def said(self) -> str:
        """The terms in words."""
        parts = []
        if self.budget_usd is not None:
            parts.append(f"budget {self.budget_usd:f}")
        if self.usd_per_win is not None:
            parts.append(f"win {self.usd_per_win:f}")
        if self.session_budget_usd is not None:
            parts.append(f"session {self.session_budget_usd:f}")
        return ", ".join(parts) or "as configured"

    def applied(self, routing: RoutingSettings, *, with_sessions: bool = True) -> RoutingSettings:
        """The settings with these terms, and with or without sessions."""
        told = {"budget_usd": self.budget_usd, "usd_per_win": self.usd_per_win}
        update: dict[str, Any] = {name: usd for name, usd in told.items() if usd is not None}
        own: dict[str, Any] = {"enabled": with_sessions}
        if self.session_budget_usd is not None:
            own["budget_usd"] = self.session_budget_usd
        update["sessions"] = routing.sessions.model_copy(update=own)
        return routing.model_copy(update=update)


@dataclass(frozen=True, slots=True)
class Result:
    """What one rule made of the jobs. model: the single one, where it is a single one."""

    terms: Terms
    rule: str
    tally: Tally
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All results. n_jobs: the number of sessions. singles: what each model would have made of the
    jobs alone."""

    results: Sequence[Result]
    singles: Mapping[str, Tally]
    n_jobs: int
    n_requests: int

    def to_json(self) -> dict[str, Any]:
        """The comparison as one document."""
        return {
            "jobs": self.n_jobs,
            "requests": self.n_requests,
            "results": [self._row(result) for result in self.results],
            "single_models": {
                name: tally.to_json(self.n_jobs, None) for name, tally in self.singles.items()
            },
        }

    def figures(self, result: Result) -> dict[str, Any]:
        """The figures of a result, with the share of the budgets that it spent: of those of the
        answered requests, or of the sessions."""
        tally, terms = result.tally, result.terms
        granted: Decimal | None = None
        if terms.budget_usd is not None:
            granted = terms.budget_usd * tally.requests
        elif terms.session_budget_usd is not None:
            granted = terms.session_budget_usd * self.n_jobs
        spent = None if not granted else float(tally.cost_usd / granted)
        return {**tally.to_json(self.n_jobs, terms.usd_per_win), "spent_of_budgets": spent}

    def mix_usd(self, win_rate: float | None) -> float | None:
        """The cost of a job in USD if whole jobs were given to single models at random, in the
        cheapest shares that reach this mean win rate. None where no model reaches it."""
        tallies = [tally for tally in self.singles.values() if tally.win_rate is not None]
        if win_rate is None or not tallies:
            return None
        cost, rate = envelope(
            np.array([float(tally.cost_usd) / self.n_jobs for tally in tallies]),
            np.array([tally.win_rate for tally in tallies], dtype=np.float64),
        )
        return float(np.interp(win_rate, rate, cost)) if win_rate <= rate[-1] else None

    def _row(self, result: Result) -> dict[str, Any]:
        terms = result.terms
        return {
            "single_mix_job_cost_usd": self.mix_usd(result.tally.win_rate),
            "rule": result.rule,
            "model": result.model,
            "budget_usd": _float(terms.budget_usd),
            "usd_per_win": _float(terms.usd_per_win),
            "session_budget_usd": _float(terms.session_budget_usd),
            **self.figures(result),
        }


async def compare(
    lines: Iterable[JobRequest], settings: Settings, all_terms: Sequence[Terms], seed: int = 0
) -> Comparison:
    """Plays recorded jobs under every rule at once, reading the lines one by one.

    Raises DataError where no line can be routed, or where a model has no price.
    """
    with _empty_store() as store:
        return await _compared(lines, settings, all_terms, seed, store)


async def _compared(
    lines: Iterable[JobRequest],
    settings: Settings,
    all_terms: Sequence[Terms],
    seed: int,
    store: Store,
) -> Comparison:
    scene, routing = scene_of(settings), settings.routing
    routed = {terms: _runs(scene, routing, terms, seed, store) for terms in all_terms}
    budgets = {terms: terms.applied(routing).sessions.budget_usd for terms in all_terms}
    singles = {
        budget_usd: {card.name: SingleRun(scene, card.name, budget_usd) for card in scene.cards}
        for budget_usd in (None, *budgets.values())
    }
    runs: list[Run] = [run for alone in singles.values() for run in alone.values()]
    runs += [run for by_rule in routed.values() for run in by_rule.values()]
    judge, talks = Judge(scene, routing), Conversations()
    sessions, n_requests = set(), 0
    for line in lines:
        turn = await judge.judged(talks.turn(line))
        sessions.add(line.session)
        n_requests += 1
        for run in runs:
            await run.take(turn)
    alone = {name: run.tally for name, run in singles[None].items()}
    if all(tally.requests == 0 for tally in alone.values()):
        raise DataError("no request of the file was routed, with its leaderboard stored")
    results = []
    for terms, by_rule in routed.items():
        results += [Result(terms, rule, run.tally) for rule, run in by_rule.items()]
        best = _best(singles[budgets[terms]], terms)
        results.append(Result(terms, SINGLE, best.tally, best.model))
    return Comparison(results, alone, len(sessions), n_requests)


def scene_of(settings: Settings) -> Scene:
    """The models of a configuration. Raises DataError for one without a price."""
    cards = build_catalogue(settings)
    unpriced = [card.name for card in cards if card.prices is None]
    if unpriced:
        raise DataError(f"models.{unpriced[0]} has no price: set one, or leave the model out")
    providers = settings.providers.items()
    of_messages = frozenset(name for name, one in providers if one.kind == "anthropic")
    return Scene(cards, facts_of_models(settings), settings.scorer, of_messages)


def _runs(
    scene: Scene, routing: RoutingSettings, terms: Terms, seed: int, store: Store
) -> Mapping[str, Run]:
    kept = terms.applied(routing)
    free = terms.applied(routing, with_sessions=False)
    return {
        SESSIONS: RoutedRun(scene, kept, seed, store),
        NEVER: PinnedRun(scene, kept, seed),
        EACH: RoutedRun(scene, free, seed, store),
    }


@contextmanager
def _empty_store() -> Iterator[Store]:
    """A ledger without anything in it, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="p2l-simulate-") as folder:
        url = f"sqlite:///{folder}/ledger.db"
        store = Store(Database(url), StorageSettings(url=url))
        store.start()
        try:
            yield store
        finally:
            store.close()


def _float(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _best(singles: Mapping[str, SingleRun], terms: Terms) -> SingleRun:
    """The single model that is best on these very jobs: the highest mean win rate, less the cost
    where a win has a value, among those whose mean cost keeps to the budget; else the cheapest."""
    able = [
        run
        for run in singles.values()
        if terms.budget_usd is None or run.tally.request_usd <= terms.budget_usd
    ]
    if not able:
        return min(singles.values(), key=lambda run: run.tally.request_usd)
    return max(able, key=lambda run: _worth(run.tally, terms))


def _worth(tally: Tally, terms: Terms) -> float:
    rate = tally.win_rate or 0.0
    if terms.usd_per_win is None:
        return rate
    return rate * float(terms.usd_per_win) - float(tally.request_usd)
