"""Starts a run in a gateway of its own, or goes on with one that was stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

from p2l_model.errors import DataError
from router.catalog import ModelCard
from server.config.settings import Settings
from server.gateway.column_places import place_of
from server.gateway.places import Places
from server.judging.judge import instruction
from server.offline.learn.apply import apply
from server.offline.learn.buyer import Buyer
from server.offline.learn.checkers import Checker
from server.offline.learn.command_check import CommandCheck
from server.offline.learn.journal import PLAN, Journal
from server.offline.learn.lost_calls import paid_of, was_paid
from server.offline.learn.money import Money, VerdictCosts
from server.offline.learn.plan import VERDICT, Estimate, Planning, RunPlan, Wishes
from server.offline.learn.results import Results
from server.offline.learn.run import Outcome, Progress, Run
from server.offline.learn.tasks import Task
from server.state import State

_DRY: Final = "dry run"


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended. spent_usd: with its earlier starts."""

    plan: RunPlan
    outcome: Outcome
    spent_usd: Decimal


def settings_for_learning(settings: Settings) -> Settings:
    """The configuration without what decides between models, since each call names its model, and
    without storing texts: prompts and answers stay in the user's files. No second model is asked
    either. Windows stay."""
    routing = settings.routing
    sessions = routing.sessions.model_copy(update={"enabled": False, "budget_usd": None})
    free = {
        "budget_usd": None,
        "usd_per_win": None,
        "models": None,
        "constraints": None,
        "hedge_after_s": None,
        "sessions": sessions,
    }
    storage = settings.storage.model_copy(update={"keep_prompts": False, "keep_responses": False})
    learning = settings.learning.model_copy(update={"local": False, "share": 0.0})
    return settings.model_copy(
        update={
            "routing": routing.model_copy(update=free),
            "storage": storage,
            "learning": learning,
        }
    )


class Learning:
    """Plans and runs in a gateway that has started. catalogue: its models, under the names that
    leaderboards have for them. models: those that the configuration routes to, None for all.
    at_once: calls at the same time."""

    def __init__(
        self,
        state: State,
        catalogue: Sequence[ModelCard],
        tasks: Sequence[Task],
        models: Sequence[str] | None,
        at_once: int,
    ) -> None:
        self._state = state
        self.tasks: Mapping[str, Task] = {task.id: task for task in tasks}
        self._models = tuple(models or ())
        self._at_once = at_once
        self.cards: Mapping[str, ModelCard] = {card.name: card for card in catalogue}

    async def dry(self, wishes: Wishes) -> tuple[RunPlan, Estimate]:
        """What a run would buy, and for how much. Nothing is sent. Raises DataError."""
        planning = self._planning(wishes.spend_usd)
        plan = await planning.plan(tuple(self.tasks.values()), wishes)
        return plan, await planning.estimate(plan, self.tasks)

    async def plan(self, wishes: Wishes, journal: Journal) -> tuple[RunPlan, Estimate]:
        """The plan of the run in the journal's folder, or a new one, which is stored there. Raises
        DataError where the folder holds a run with other wishes."""
        stored = journal.plan()
        planning = self._planning(wishes.spend_usd)
        if stored is None:
            plan = await planning.plan(tuple(self.tasks.values()), wishes)
            journal.keep_plan(plan.to_json())
        else:
            plan = RunPlan.from_json(stored)
            self._check_same(plan, wishes, journal.folder)
        return plan, await planning.estimate(plan, self.tasks)

    async def run(
        self,
        plan: RunPlan,
        estimate: Estimate,
        spend_usd: Decimal,
        journal: Journal,
        progress: Progress,
    ) -> Ended:
        """Runs; a first interrupt lets the calls in progress end. Raises DataError,
        StorageError."""
        buyer = Buyer(self._state.gateway, plan.run, spend_usd)
        open_usd = await self._recover(journal)

        async def spent() -> Decimal:
            return await buyer.spent_usd() + open_usd

        verdicts = VerdictCosts({line.model: line.mean_usd for line in estimate.of(VERDICT)})
        money = Money(spend_usd, spent, verdicts)
        run = Run(
            plan,
            self.tasks,
            self.cards,
            buyer,
            money,
            journal,
            Checker(CommandCheck()),
            was_paid=partial(was_paid, self._state.store),
            progress=progress,
            at_once=self._at_once,
        )
        with _interrupted(run):
            outcome = await run.go()
        return Ended(plan, outcome, await money.spent_usd())

    async def apply(self, results: Results) -> int:
        """Hands the grades to the local layer; returns how many are new. Raises StorageError."""
        await self._state.store.flush()
        return await asyncio.to_thread(apply, results, self._state.store.database)

    async def _recover(self, journal: Journal) -> Decimal:
        """Finds out what became of calls that were in progress when the run was killed. Returns
        what those that the ledger has not closed yet may still cost, in USD."""
        store = self._state.store
        await store.flush()
        asked = dict(journal.asked)
        paid, open_usd = await asyncio.to_thread(paid_of, store.database, set(asked.values()))
        for want, request_id in asked.items():
            if request_id in paid:
                journal.lose(want, request_id)
            else:
                journal.free(want)
        return open_usd

    def _planning(self, spend_usd: Decimal) -> Planning:
        buyer = Buyer(self._state.gateway, _DRY, spend_usd)
        planner, settings = self._state.gateway.planner, self._state.settings
        thinkers = frozenset(
            card.name for card in self.cards.values() if planner.thinks(card.base, _effort_of(card))
        )
        return Planning(
            buyer,
            self.cards,
            strengths_of(self._state, settings),
            thinkers,
            spend_usd,
            self._models,
        )

    def _check_same(self, plan: RunPlan, wishes: Wishes, folder: Path) -> None:
        other = None
        if not set(plan.prompts) <= self.tasks.keys():
            other = "other prompts"
        elif wishes.models and set(wishes.models) != set(plan.models):
            other = "other models"
        elif wishes.judge is not None and plan.judges:
            other = None if wishes.judge in plan.judges.values() else "another judge"
        elif wishes.checker != plan.checker:
            other = "another checker"
        if plan.judges and plan.judge_version != instruction().version:
            other = "another version of the judge's instruction"
        missing = [name for name in plan.models if name not in self.cards]
        if missing:
            other = f"the model {missing[0]}, which is no longer configured"
        if other is not None:
            raise DataError(
                f"--out: {folder / PLAN} is the plan of a run with {other}: give another folder, "
                "or the same arguments as before"
            )


def _effort_of(card: ModelCard) -> dict[str, str]:
    """What a request to a column says of its effort."""
    return {} if card.effort is None else {"reasoning_effort": card.effort}


def strengths_of(state: State, settings: Settings) -> dict[str, float]:
    """The place of each model on the leaderboard for no prompt in particular, by catalogue name;
    models without one are left out."""
    from server.config.configured_facts import facts_of_models

    planner = state.gateway.planner
    marginal = planner.scorer.marginal
    if marginal is None:
        return {}
    usual = dict(zip(marginal.models, marginal.coefficients.tolist(), strict=True))
    places, facts = Places(planner.scorer.models, marginal), facts_of_models(settings)
    found = {}
    for card in planner.catalogue.values():
        place, shift = place_of(card, places, facts[card.base].thinking)
        if place is not None and place.column in usual:
            found[card.name] = usual[place.column] + shift
    return found


@contextmanager
def _interrupted(run: Run) -> Iterator[None]:
    """The first interrupt stops the run in good order; the next ones end the process."""
    loop = asyncio.get_running_loop()

    def once() -> None:
        run.stop("user")
        loop.remove_signal_handler(signal.SIGINT)

    try:
        loop.add_signal_handler(signal.SIGINT, once)
    except (NotImplementedError, RuntimeError, ValueError):  # not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def stop_reason(outcome: Outcome) -> str | None:
    """Why a run ended early, for people; None: it did not."""
    reasons: dict[str, Any] = {
        "money": "the next call could have cost more than was left of --spend",
        "window": "a budget of the gateway itself, for a window of time, has nothing left",
        "user": "it was interrupted; the same command goes on",
    }
    return None if outcome.stopped is None else str(reasons[outcome.stopped])
