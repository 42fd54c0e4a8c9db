"""Starts what runs beside the requests, and ends it together with the application's parts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from router.catalog import ModelCard
from server.catalogue.cards import build_catalogue
from server.catalogue.price_updates import hours_followed, prices_kept_current
from server.catalogue.provider_lists import ModelLists, lists_followed
from server.config.configured_facts import facts_of_models
from server.config.settings import Settings
from server.gateway.output_lengths import lengths_kept
from server.gateway.shared_sessions import sessions_shared
from server.process.closing import Closing
from server.state import State
from server.storage.housekeeping import kept_alive
from server.storage.recovery import Lost
from server.tasks.budget_alerts import budgets_watched
from server.tasks.grade_shadows import shadows_graded
from server.tasks.judge_trials import trials_judged
from server.tasks.learn_local import layers_kept_current
from server.tasks.refresh_keys import keys_kept_current
from server.telemetry.tracing import Traces


class Lifetime:
    """The application's lifespan. A reload may replace the gateway and the settings, so both are
    read from the state whenever they are needed."""

    def __init__(self, state: State, traces: Traces) -> None:
        self._state = state
        self._traces = traces
        self._heavy = state.gateway.heavy
        self._scorer = state.gateway.planner.scorer
        self._shared = state.gateway.planner.jobs.shared

    @asynccontextmanager
    async def __call__(self, _: FastAPI) -> AsyncIterator[None]:
        """Runs the background work. At the end the parts are closed, the last one first."""
        async with Closing() as closing:
            await self._begin(closing)
            async with self._background():
                await self._scorer.start()
                self._state.ready = True
                yield
                self._state.ready = False

    async def _begin(self, closing: Closing) -> None:
        state, store = self._state, self._state.store
        closing.at_the_end("traces", partial(asyncio.to_thread, self._traces.close))
        closing.at_the_end("storage", partial(asyncio.to_thread, store.close))
        await asyncio.to_thread(store.start)
        closing.at_the_end("threads", partial(asyncio.to_thread, self._heavy.close))
        closing.at_the_end("scorer", lambda: state.gateway.planner.scorer.close())
        closing.at_the_end("accounts", lambda: state.gateway.accounts.close())
        closing.at_the_end("providers", lambda: state.gateway.close())

    @asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        state, background = self._state, self._state.background
        lists = ModelLists(lambda: state.settings, self._put, os.environ)
        async with (
            keys_kept_current(state),
            budgets_watched(state),
            kept_alive(state.store, background, self._release),
            prices_kept_current(lambda: state.settings.prices, background, self._new_prices),
            hours_followed(background, self._catalogue, self._serve),
            lists_followed(background, lists),
            lengths_kept(background, state.store, lambda: state.gateway.planner.learned.lengths),
            trials_judged(state),
            layers_kept_current(state),
            shadows_graded(state),
            sessions_shared(self._shared, state.store, state.gateway.accounts.purses),
        ):
            yield

    def _catalogue(self) -> tuple[ModelCard, ...]:
        return build_catalogue(self._state.settings)

    def _serve(self, cards: tuple[ModelCard, ...]) -> None:
        self._state.gateway.planner.serve(cards)

    def _new_prices(self) -> None:
        self._serve(self._catalogue())

    def _put(self, found: Settings) -> None:
        self._state.settings = found
        self._state.gateway.planner.serve(build_catalogue(found), facts_of_models(found))

    def _release(self, lost: Sequence[Lost]) -> None:
        state = self._state
        state.gateway.accounts.release_lost(lost, state.authenticator.callers)
