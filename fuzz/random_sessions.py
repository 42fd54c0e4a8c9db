"""Random sessions with budgets: requests that come at once, are given up, or meet a new process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import func, select

from server.app import build_gateway
from server.auth.authenticator import Caller
from server.build import build_scorer, build_store, build_upstreams
from server.catalogue.cards import build_catalogue
from server.config.file import parse_settings
from server.errors import ApiError
from server.gateway.gateway import Gateway
from server.ledger.attempt import usd
from server.storage.schema import attempts
from server.storage.store import Store
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import RoutingOptions
from server.telemetry.metrics import GatewayMetrics
from server.telemetry.observer import Observer
from server.telemetry.tracing import build_traces

_CONFIG = """
providers: {main: {kind: sandbox}}
models:
  dear: {provider: main, input_usd_per_mtok: 5, output_usd_per_mtok: 15}
  cheap: {provider: main, input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.4}
scorer: {fixed: {dear: 1.5, cheap: -0.7}}
storage: {url: "sqlite:///%s"}
"""
_AT_ONCE = 250
_CALLER = Caller("team")


class Found(NamedTuple):
    """sessions: how many there were; answered, refused, given_up: their requests; over: the
    sessions that have cost more than their budget."""

    sessions: int
    answered: int
    refused: int
    given_up: int
    over: list[str]


class Player:
    """Plays sessions against one ledger, at path."""

    def __init__(self, path: str, seed: int) -> None:
        self._chance = random.Random(seed)
        self._settings = parse_settings(_CONFIG % path)
        self._counts = {"answered": 0, "refused": 0, "given_up": 0}
        self._budgets: dict[str, Decimal] = {}

    async def play(self, n_sessions: int, each: int = 500) -> Found:
        """each: sessions between one new process and the next; half of them go on in the next."""
        names = [f"job {number}" for number in range(n_sessions)]
        for start in range(0, n_sessions, each):
            store = build_store(self._settings.storage)
            store.start()
            try:
                gateway = self._gateway(store)
                now = names[start : start + each]
                before = names[max(0, start - each // 2) : start]
                for one in range(0, len(now), _AT_ONCE):
                    some = now[one : one + _AT_ONCE] + before[one : one + _AT_ONCE]
                    await asyncio.gather(*(self._session(gateway, name) for name in some))
                await gateway.accounts.close()
            finally:
                store.close()
        return Found(n_sessions, **self._counts, over=self._over())

    def _gateway(self, store: Store) -> Gateway:
        catalogue = build_catalogue(self._settings)
        return build_gateway(
            self._settings,
            build_scorer(self._settings.scorer),
            build_upstreams(self._settings, catalogue, {}),
            catalogue,
            store,
            Observer(GatewayMetrics(), build_traces(None)),
        )

    async def _session(self, gateway: Gateway, name: str) -> None:
        budget = self._budgets.get(name)
        if budget is None:
            budget = Decimal(self._chance.randint(0, 10_000)).scaleb(-6)
            self._budgets[name] = budget
        n_requests = self._chance.randint(1, 6)
        await asyncio.gather(*(self._request(gateway, name, budget) for _ in range(n_requests)))

    async def _request(self, gateway: Gateway, name: str, budget: Decimal) -> None:
        chance = self._chance
        body = {
            "model": chance.choice(["p2l", "p2l", "dear", "cheap"]),
            "messages": [{"role": "user", "content": "Say it. " * chance.randint(1, 60)}],
        }
        cap = chance.choice([None, 1, 100, 128_000])
        if cap is not None:
            body["max_tokens"] = cap
        given = budget if chance.random() < 0.9 else None
        options = RoutingOptions(session=name, session_budget_usd=given or budget)
        work = asyncio.ensure_future(_answered(gateway, body, options))
        if chance.random() < 0.1:
            await asyncio.sleep(chance.random() / 100)
            work.cancel()
        try:
            await work
        except asyncio.CancelledError:
            self._counts["given_up"] += 1
        except ApiError as error:
            if error.code not in ("budget_exhausted", "no_eligible_model"):
                raise
            self._counts["refused"] += 1
        else:
            self._counts["answered"] += 1

    def _over(self) -> list[str]:
        store = build_store(self._settings.storage)
        store.start()
        try:
            with store.database.begin() as connection:
                rows = connection.execute(
                    select(attempts.c.session_budget_pico, func.sum(attempts.c.cost_pico))
                    .where(attempts.c.session.is_not(None))
                    .group_by(attempts.c.session, attempts.c.session_budget_pico)
                ).all()
        finally:
            store.close()
        return [f"{usd(cost)} USD of {usd(budget)}" for budget, cost in rows if cost > budget]


async def _answered(gateway: Gateway, body: dict[str, object], options: RoutingOptions) -> None:
    request = parse_chat_request(body)
    plan = await gateway.planner.plan(request, options, _CALLER)
    await gateway.complete(request, plan)


def play(path: str, n_sessions: int, seed: int, say: Callable[[str], None] = print) -> Found:
    """Plays so many sessions and says what became of them."""
    found = asyncio.run(Player(path, seed).play(n_sessions))
    say(
        f"{found.sessions} sessions: {found.answered} requests answered, {found.refused} refused, "
        f"{found.given_up} given up; {len(found.over)} sessions OVER THEIR BUDGET"
    )
    return found
