"""Nothing sent, nothing billed: a caller may hang up at any moment between a reservation and its
request. Where the request went out, it is billed."""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for
from services import PostgresServer, RedisServer
from sqlalchemy import select

from server.app import build_gateway
from server.auth.authenticator import Caller
from server.build import build_scorer, build_store, build_upstreams
from server.catalogue.cards import build_catalogue
from server.config.file import parse_settings
from server.gateway.gateway import Gateway
from server.ledger.window import Short, Wanted, WindowSpec
from server.storage.database import Database
from server.storage.schema import attempts
from server.storage.store import Store
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import RoutingOptions
from server.telemetry.metrics import GatewayMetrics
from server.telemetry.observer import Observer
from server.telemetry.tracing import build_traces
from server.upstream.http1 import Connection

ENVIRON = {"MAIN_KEY": "sk-provider-canary"}
HELLO: dict[str, Any] = {
    "model": "p2l",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_completion_tokens": 50,
}
WINDOW_NANO = 10**9
ANYBODY = Caller("anonymous")


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def redis_part(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return ""
    server: RedisServer = request.getfixturevalue("redis")
    return f"redis: {{url: '{server.url}', prefix: 'sent{time.time_ns()}'}}\n"


def rows(url: str) -> list[Any]:
    database = Database(url)
    with database.begin() as connection:
        found = connection.execute(select(attempts).order_by(attempts.c.started_at)).all()
    database.close()
    return list(found)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.services
def test_a_hang_up_while_the_reservation_is_committed_costs_nothing(
    provider: FakeProvider, postgres: PostgresServer, redis_part: str
) -> None:
    url = postgres.database()
    window = "{window_budgets: [{amount_usd: 0.0011, window_s: 3600}]}"
    extra = f"routing: {window}\nstorage: {{url: '{url}'}}\n{redis_part}"
    body = HELLO | {"model": "dear"}
    with (
        LiveGateway(config_for(provider.base_url, extra), ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as client,
    ):
        with psycopg.connect(url) as slow:
            slow.execute("LOCK TABLE attempts IN EXCLUSIVE MODE")  # reading goes on, commits wait
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json=body, timeout=1)
        until(lambda: rows(url) and rows(url)[0].settled_at is not None)
        (row,) = rows(url)
        assert (row.outcome, row.cost_pico, row.cost_source) == ("cancelled", 0, "none")
        assert provider.chats == []
        # the window holds one such request at a time
        assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert [row.outcome for row in rows(url)] == ["cancelled", "answered"]


@dataclass
class Bench:
    """A gateway without its server. sent: bodies that were written to a socket."""

    gateway: Gateway
    store: Store
    url: str
    sent: list[bytes] = field(default_factory=list)

    async def left_nano(self) -> int:
        """Of the window, once all that goes on beside the requests is over."""
        windows: Any = self.gateway.accounts._windows
        while tasks := getattr(windows, "_tasks", set()):
            await asyncio.wait(set(tasks))
        spec = WindowSpec(None, WINDOW_NANO, 3600)
        short = await windows.reserve("probe", [spec], Wanted(2**61, 2**61, 2**61))
        assert isinstance(short, Short)
        return short.available

    async def billed_nano(self) -> int:
        """By the ledger, in which nothing is open."""
        assert await self.store.flush()
        found = rows(self.url)
        assert all(row.settled_at is not None for row in found)
        return sum(-(-row.cost_pico // 1000) for row in found)


@asynccontextmanager
async def bench(
    provider: FakeProvider, url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    settings = parse_settings(config_for(provider.base_url, f"storage: {{url: '{url}'}}\n{extra}"))
    catalogue = build_catalogue(settings)
    store = build_store(settings.storage, {})
    store.start()
    gateway = build_gateway(
        settings,
        build_scorer(settings.scorer),
        build_upstreams(settings, catalogue, ENVIRON),
        catalogue,
        store,
        Observer(GatewayMetrics(), build_traces(None)),
    )
    made = Bench(gateway, store, url)
    send = Connection.send

    async def noted(self: Connection, head: bytes, body: bytes, *rest: Any) -> None:
        made.sent.append(body)
        await send(self, head, body, *rest)

    monkeypatch.setattr(Connection, "send", noted)
    try:
        yield made
    finally:
        await gateway.close()
        await gateway.accounts.close()
        store.close()


@types.coroutine
def hung_up(
    work: Coroutine[Any, Any, object], step: int, *, late: bool
) -> Generator[Any, None, bool]:
    """Runs the work, cancelled where it waits for the step-th time: as it begins to wait, or, late,
    as what it waits for has come. Returns whether it was over before."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    n_waits = 0
    thrown: BaseException | None = None
    while True:
        try:
            waits_for = work.send(None) if thrown is None else work.throw(thrown)
        except StopIteration:
            return True
        except asyncio.CancelledError:
            task.uncancel()
            return False
        n_waits += 1
        if n_waits == step and not late:
            loop.call_soon(task.cancel)
        thrown = None
        try:
            yield waits_for
        except asyncio.CancelledError as cancelled:
            thrown = cancelled
        if n_waits == step and late and thrown is None:
            thrown = asyncio.CancelledError()


async def answered(gateway: Gateway, body: dict[str, Any]) -> None:
    """One request from its plan to the end of its answer, as an endpoint does it."""
    wanted = parse_chat_request(body)
    plan = await gateway.planner.plan(wanted, RoutingOptions(), ANYBODY)
    if not wanted.stream:
        await gateway.complete(wanted, plan)
        return
    _, stream = await gateway.stream(wanted, plan)
    async with stream:
        async for _ in stream:
            pass


@pytest.mark.parametrize(
    ("storage_url", "redis_part"),
    [
        ("sqlite", "memory"),
        pytest.param("postgresql", "redis", marks=pytest.mark.services),
        pytest.param("sqlite", "redis", marks=[pytest.mark.services, pytest.mark.slow]),
        pytest.param("postgresql", "memory", marks=[pytest.mark.services, pytest.mark.slow]),
    ],
    indirect=True,
)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", ["whole", "streamed", "hedged", "second"])
async def test_whoever_hangs_up_at_any_moment_pays_for_what_was_sent(
    provider: FakeProvider,
    storage_url: str,
    redis_part: str,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    late: bool,
) -> None:
    routing = "window_budgets: [{amount_usd: 1, window_s: 3600}], breaker: {open_s: 0.001}"
    if kind == "hedged":
        provider.script("up-dear", Behaviour(first_delay_s=0.06))
        routing += ", hedge_after_s: 0.02"
    if kind == "second":
        provider.script("up-dear", Behaviour(status=500))
    extra = f"routing: {{{routing}}}\n{redis_part}"
    body = HELLO | {"stream": kind == "streamed"}
    n_free = n_paid = 0
    async with bench(provider, storage_url, extra, monkeypatch) as made:
        billed = 0
        for step in range(1, 200):
            made.sent.clear()
            over = await hung_up(answered(made.gateway, body), step, late=late)
            now = await made.billed_nano()
            if made.sent:
                assert now > billed or kind == "second", f"step {step}: sent and not billed"
                n_paid += 1
            else:
                assert now == billed, f"step {step}: billed, and nothing was sent"
                n_free += 1
            assert await made.left_nano() == WINDOW_NANO - now, f"step {step}"
            billed = now
            if over:
                break
        else:
            pytest.fail("it never came to its end")
    assert n_free >= (0 if made.store._spool is not None and not redis_part else 1)
    assert n_paid >= 2


async def test_who_gives_up_waiting_for_one_of_the_providers_places_pays_nothing(
    provider: FakeProvider, tmp_path: Path
) -> None:
    provider.script("up-dear", Behaviour(first_delay_s=0.8))
    url = f"sqlite:///{tmp_path}/p2l.db"
    config = config_for(provider.base_url, f"storage: {{url: '{url}'}}").replace(
        "kind: openai", "kind: openai, max_concurrency: 1", 1
    )
    body = HELLO | {"model": "dear"}
    with LiveGateway(config, ENVIRON) as live:
        async with httpx.AsyncClient(base_url=live.url, trust_env=False, timeout=20) as client:
            first = asyncio.create_task(client.post("/v1/chat/completions", json=body))
            await asyncio.to_thread(until, lambda: provider.chats)
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/v1/chat/completions", json=body, timeout=0.3)
            assert (await first).status_code == 200
    assert len(provider.chats) == 1
    assert [(row.outcome, row.cost_pico == 0) for row in rows(url)] == [
        ("answered", False),
        ("cancelled", True),
    ]


@pytest.mark.slow
@pytest.mark.services
async def test_a_hedge_that_could_not_be_reserved_hides_no_later_attempt(
    provider: FakeProvider, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row in the ledger is withdrawn: a later attempt of the request must have another."""
    provider.script("up-dear", Behaviour(first_delay_s=0.1, status=500))
    url, flush = postgres.database(), Store.flush
    written = iter([True, False])

    async def failing(self: Store) -> bool:
        return await flush(self) and next(written, True)

    async with bench(provider, url, "routing: {hedge_after_s: 0.02}", monkeypatch) as made:
        with monkeypatch.context() as patched:
            patched.setattr(Store, "flush", failing)
            await answered(made.gateway, HELLO)
        assert await made.billed_nano() > 0
    assert [(row.model, row.outcome) for row in rows(url)] == [
        ("dear", "unavailable"),
        ("middle", "answered"),
    ]
