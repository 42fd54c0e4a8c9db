"""A new configuration takes the place of the old one: every setting of it is followed, or is named
as one that needs a restart; and what the gateway knows is kept."""

from __future__ import annotations

import asyncio
import shutil
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fake_provider import Behaviour, FakeProvider
from fastapi import FastAPI
from live_gateway import config_for
from pydantic import BaseModel
from services import RedisServer
from tiny_checkpoint import write_checkpoint

from p2l_model.types import PreferenceFamily
from server.app import create_app
from server.auth.authenticator import Caller
from server.build import build_scorer, build_store, build_upstreams
from server.catalogue.cards import build_catalogue
from server.commands.serve import check_shared
from server.config.file import parse_settings
from server.config.settings import Settings
from server.config.settings.unknown_cost import UnknownCost
from server.serving.reload import NEEDS_RESTART, Reloader
from server.state import State

ENVIRON = {"MAIN_KEY": "sk-provider-canary", "HOOK_URL": "https://b.example/hook"}
ANYBODY = Caller("anonymous")
# Of these everything in force is made anew from the settings by each reload.
BUILT_ANEW = (
    "providers.", "models.", "facts.", "aliases", "scorer.", "auth.keys.", "routing.profiles."
)  # fmt: skip


class Running:
    """A gateway without a socket, and the file that it was configured by."""

    def __init__(self, app: FastAPI, config: Path, log: pytest.LogCaptureFixture) -> None:
        self.state: State = app.state.p2l
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1"
        )
        self._config = config
        self._log = log
        self.reloader = Reloader(self.state, str(config), ENVIRON)

    async def reload(self, change: dict[str, Any] | None = None, text: str | None = None) -> str:
        """What was logged. change: dotted name -> value. text: the whole file instead."""
        said = yaml.safe_load(text or self._config.read_text())
        for name, value in (change or {}).items():
            *sections, last = name.split(".")
            place = said
            for section in sections:
                place = place.setdefault(section, {})
            place[last] = value
        self._config.write_text(yaml.safe_dump(said))
        self._log.clear()
        await self.reloader()
        return self._log.text

    async def retired(self) -> None:
        """Once what was replaced is closed."""
        await asyncio.gather(*self.reloader._retiring)

    async def ask(self, model: str = "dear", **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}
        return await self.http.post("/v1/chat/completions", json=body)


@asynccontextmanager
async def running(
    provider: FakeProvider, folder: Path, log: pytest.LogCaptureFixture, extra: str = ""
) -> AsyncIterator[Running]:
    config = folder / "config.yaml"
    storage = "" if "storage:" in extra else f"storage: {{url: 'sqlite:///{folder}/p2l.db'}}\n"
    config.write_text(config_for(provider.base_url, storage + extra))
    settings = parse_settings(config.read_text())
    catalogue = build_catalogue(settings)
    app = create_app(
        settings,
        build_scorer(settings.scorer),
        build_upstreams(settings, catalogue, ENVIRON),
        catalogue,
        store=build_store(settings.storage, ENVIRON),
    )
    async with app.router.lifespan_context(app):
        made = Running(app, config, log)
        async with made.http:
            yield made
            await made.retired()


def planned(name: str) -> Callable[[State], object]:
    return lambda state: getattr(state.gateway.planner._routing, name)


def in_jobs(name: str) -> Callable[[State], object]:
    return lambda state: getattr(state.gateway.planner.jobs._rules, name)


def session_budget(state: State) -> object:
    return state.gateway.accounts.purses.default_usd  # type: ignore[union-attr]


def breaker(name: str) -> Callable[[State], object]:
    return lambda state: getattr(state.gateway.health.rules, name)


def window(name: str) -> Callable[[State], object]:
    return lambda state: getattr(state.gateway.accounts.budgets._windows[0], name)  # type: ignore[union-attr]


def constraint(*names: str) -> Callable[[State], object]:
    def found(state: State) -> object:
        value: Any = state.gateway.planner._routing.constraints
        for name in names:
            value = getattr(value[0] if isinstance(value, list) else value, name)
        return value

    return found


def stored(name: str) -> Callable[[State], object]:
    return lambda state: getattr(state.store.settings, name)


def asked_anew(section: str, name: str) -> Callable[[State], object]:
    """Read from the settings in force at each use."""
    return lambda state: getattr(getattr(state.settings, section), name)


def followed_prices(name: str) -> Callable[[State], object]:
    def found(state: State) -> object:
        job = state.background._running["prices"]._job
        return getattr(job.work._settings(), name)  # type: ignore[attr-defined]

    return found


BUDGET = {"name": "b", "amount_usd": 0.001, "models": ["dear"]}
ROWS = {"max_latency_s": 9.0, "min_value": 0.1, "budgets": [BUDGET]}
WINDOWS = [{"amount_usd": 7, "window_s": 70, "per": "key"}]
# Setting -> what is changed (by default the setting itself), what to, and what is then in force.
HOOK = {"url": "https://c.example/hook", "secret_env": "MAIN_KEY"}
FOLLOWED: dict[str, tuple[str, object, Callable[[State], object], object]] = {
    name: (where or name, value, found, expected)
    for name, where, value, found, expected in (
        ("routing.budget_usd", "", 0.5, planned("budget_usd"), Decimal("0.5")),
        ("routing.budget_mode", "", "hard", planned("budget_mode"), "hard"),
        ("routing.usd_per_win", "", 2, planned("usd_per_win"), Decimal(2)),
        ("routing.objective", "", "win_rate", planned("objective"), "win_rate"),
        ("routing.opponents", "", {"dear": 1.0}, planned("opponents"), {"dear": 1.0}),
        ("routing.models", "", ["dear"], planned("models"), ["dear"]),
        ("routing.effort", "", "route", lambda s: s.gateway.planner._routing.effort, "route"),
        ("routing.fallbacks", "", 4, planned("fallbacks"), 4),
        ("routing.retries", "", 3, lambda s: s.gateway._retries, 3),
        ("routing.hedge_after_s", "", 0.7, lambda s: s.gateway._hedge_after_s, 0.7),
        *(
            (f"routing.breaker.{name}", "", value, breaker(name), value)
            for name, value in (
                ("consecutive_failures", 7),
                ("failure_ratio", 0.25),
                ("min_requests", 9),
                ("window_s", 11.0),
                ("open_s", 2.0),
                ("max_open_s", 80.0),
            )
        ),
        *(
            (f"routing.sessions.{name}", "", value, in_jobs(name), value)
            for name, value in (
                ("enabled", False), ("ttl_s", 60.0), ("tool_loop", "free"), ("min_gain", 0.1)
            )
        ),
        ("routing.sessions.budget_usd", "", 2.5, session_budget, Decimal("2.5")),
        *(
            (f"routing.constraints.{name}", "routing.constraints", ROWS, found, expected)
            for name, found, expected in (
                ("max_latency_s", constraint("max_latency_s"), 9.0),
                ("min_value", constraint("min_value"), 0.1),
                ("provider_shares", constraint("provider_shares"), {}),
                ("budgets.*.name", constraint("budgets", "name"), "b"),
                ("budgets.*.amount_usd", constraint("budgets", "amount_usd"), Decimal("0.001")),
                ("budgets.*.models", constraint("budgets", "models"), ["dear"]),
            )
        ),
        *(
            (f"routing.window_budgets.*.{name}", "routing.window_budgets", WINDOWS, *pair)
            for name, *pair in (
                ("amount_usd", window("amount_usd"), Decimal(7)),
                ("window_s", window("window_s"), 70),
                ("per", window("per"), "key"),
            )
        ),
        *(
            (f"learning.{name}", "", value, asked_anew("learning", name), expected)
            for name, value, expected in (
                ("local", False, False), ("share", 0.1, 0.1), ("usd_per_day", 2, Decimal(2)),
                ("judge", "dear", "dear"), ("half_life_days", 9.0, 9.0), ("min_answers", 7, 7),
                ("min_own_answers", 8, 8), ("own_layers_of", ["a"], ["a"]), ("every_s", 5.0, 5.0),
            )
        ),
        ("server.cors_origins", "", ["https://a.example"], asked_anew("server", "cors_origins"),
         ["https://a.example"]),
        ("storage.on_failure", "", "spool", stored("on_failure"), "spool"),
        ("storage.spool_max_bytes", "", 1 << 21, stored("spool_max_bytes"), 1 << 21),
        ("storage.unknown_cost", "", "worst", lambda s: s.gateway.accounts.policy,
         UnknownCost.WORST),
        ("storage.keep_prompts", "", True, asked_anew("storage", "keep_prompts"), True),
        ("storage.receipts_days", "", 3, stored("receipts_days"), 3),
        ("storage.keep_responses", "", True, asked_anew("storage", "keep_responses"), True),
        ("storage.responses_days", "", 4, stored("responses_days"), 4),
        ("storage.attempts_days", "", 5, stored("attempts_days"), 5),
        ("storage.feedback_days", "", 6, stored("feedback_days"), 6),
        *(
            (f"alerts.{name}", "alerts", HOOK | {name: value}, asked_anew("alerts", name), value)
            for name, value in (
                ("url", "https://a.example/hook"), ("secret_env", "HOOK_URL"),
                ("at_percent", [50]), ("allow_private_addresses", True),
            )
        ),
        ("alerts.url_env", "alerts", {"url_env": "HOOK_URL", "secret_env": "MAIN_KEY"},
         asked_anew("alerts", "url_env"), "HOOK_URL"),
        ("prices.update", "", False, followed_prices("update"), False),
        ("prices.update_url", "", "http://127.0.0.1:1/x", followed_prices("update_url"),
         "http://127.0.0.1:1/x"),
        ("prices.update_every_s", "", 60.0, followed_prices("update_every_s"), 60.0),
        ("limits.max_body_bytes", "", 1000, asked_anew("limits", "max_body_bytes"), 1000),
        ("limits.feedback_per_minute", "", 5, asked_anew("limits", "feedback_per_minute"), 5),
        ("limits.body_timeout_s", "", 5.0, asked_anew("limits", "body_timeout_s"), 5.0),
        ("limits.max_concurrency", "", 10, lambda s: s.gateway.admission._max_concurrency, 10),
        ("limits.max_waiting", "", 3, lambda s: s.gateway.admission._max_waiting, 3),
        ("limits.max_wait_s", "", 0.9, lambda s: s.gateway.admission._max_wait_s, 0.9),
        ("limits.share_per_key", "", 0.5, lambda s: s.gateway.admission._max_per_key, 500),
    )
}  # fmt: skip
RESTARTED: dict[str, object] = {
    "limits.drain_s": 3.0,
    "limits.header_timeout_s": 3.0,
    "limits.max_connections": 30,
    "limits.max_header_bytes": 3000,
    "limits.write_timeout_s": 3.0,
    "redis.prefix": "other",
    "redis.url": "redis://127.0.0.1:1/0",
    "redis.url_env": "SOME_URL",
    "storage.password_env": "SOME_PASSWORD",
    "storage.spool_dir": "/nowhere/at/all",
    "storage.url": "sqlite:////nowhere/at/all.db",
    "storage.url_env": "SOME_URL",
    "telemetry.otlp_endpoint": "http://127.0.0.1:1",
}


def leaves(section: type[BaseModel], before: str = "") -> Iterator[str]:
    """The names of all settings."""
    for name, described in section.model_fields.items():
        inner = list(sections_in(described.annotation))
        many = typing.get_origin(described.annotation) in (dict, list)
        for part in inner:
            yield from leaves(part, f"{before}{name}{'.*' if many else ''}.")
        if not inner:
            yield before + name


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from sections_in(part)


def test_of_every_setting_it_is_known_whether_a_reload_takes_it_over() -> None:
    """A new setting: either prove here that a reload puts it in force, or name it in
    NEEDS_RESTART."""
    known = [*FOLLOWED, *NEEDS_RESTART]
    others = [name for name in leaves(Settings) if not name.startswith(BUILT_ANEW)]
    assert sorted(known) == sorted(others)
    assert RESTARTED.keys() == NEEDS_RESTART


@pytest.mark.parametrize("setting", FOLLOWED)
async def test_a_setting_is_followed_and_named(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture, setting: str
) -> None:
    where, value, found, expected = FOLLOWED[setting]
    extra = "prices: {update_every_s: 50}\n"
    async with running(provider, tmp_path, caplog, extra) as gateway:
        if where in ("prices.update", "routing.objective"):
            assert "nothing in it has changed" in await gateway.reload({where: value})
        else:
            said = await gateway.reload({where: value})
            assert "changed: " in said
            assert where.rpartition(".")[0] in said
            assert "restart" not in said
        assert found(gateway.state) == expected


@pytest.mark.parametrize("setting", sorted(RESTARTED))
async def test_a_setting_that_needs_a_restart_is_named_and_left(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture, setting: str
) -> None:
    section, _, name = setting.partition(".")
    async with running(provider, tmp_path, caplog) as gateway:
        before = gateway.state.settings
        said = await gateway.reload({setting: RESTARTED[setting], "routing.retries": 3})
        assert f"a change of {setting} needs a restart" in said
        assert "changed: routing.retries" in said
        now = gateway.state.settings
        assert getattr(getattr(now, section), name) == getattr(getattr(before, section), name)
        assert gateway.state.gateway._retries == 3


@pytest.mark.slow
async def test_what_is_built_anew_is_by_the_new_settings(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(provider, tmp_path, caplog) as gateway:
        said = await gateway.reload(
            {
                "providers.main.idle_timeout_s": 3,
                "models.dear.upstream_model": "up-other",
                "aliases": {"nick": "dear"},
                "scorer.fixed": {"dear": 1, "cheap": 3},
                "routing.profiles": {"small": {"models": ["cheap"]}},
            }
        )
        assert said.strip().endswith(
            "changed: providers.main.idle_timeout_s, models.dear.upstream_model, aliases, "
            "routing.profiles.small, scorer.fixed"
        )
        assert (await gateway.ask("nick")).status_code == 200
        assert provider.chats[-1].body["model"] == "up-other"
        assert (await gateway.ask("p2l")).headers["x-p2l-model"] == "cheap"
        assert (await gateway.ask("p2l:small")).headers["x-p2l-model"] == "cheap"


@pytest.mark.slow
async def test_a_reload_says_names_and_no_values(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(provider, tmp_path, caplog) as gateway:
        said = await gateway.reload(
            {
                "models.fresh": {"provider": "main"},
                "providers.main.base_url": "https://canary.example/v1",
                "storage.url": "postgresql://p2l:canary@db/p2l",
            }
        )
        assert "models.fresh, " in said or "models.fresh\n" in said
        assert "providers.main.base_url" in said
        assert "canary" not in said


async def test_a_configuration_that_cannot_be_used_changes_nothing(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def without_solver() -> None:
        raise ImportError

    async with running(provider, tmp_path, caplog) as gateway:
        monkeypatch.setattr("server.gateway.deciding.GeneralLp", without_solver)
        said = await gateway.reload(
            {
                "routing.constraints": ROWS,
                "routing.window_budgets": WINDOWS,
                "routing.breaker": {"open_s": 2},
                "limits.max_concurrency": 1,
                "storage.unknown_cost": "zero",
            }
        )
        assert "stays as it was" in said
        assert "was read again" not in said
        state = gateway.state
        budgets = state.gateway.accounts.budgets
        assert budgets is not None
        assert budgets.shared == ()
        assert state.gateway.health.rules.open_s == 5.0
        assert state.gateway.admission._max_concurrency == 1000
        assert state.gateway.accounts.policy is UnknownCost.EXPECTED
        assert (await gateway.ask()).status_code == 200


@pytest.mark.slow
async def test_what_requests_would_fail_by_is_refused(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(provider, tmp_path, caplog) as gateway:
        nothing_new = gateway._config.read_text()
        unpriced = {"models.nobodys": {"provider": "main"}, "routing.budget_usd": 1}
        said = await gateway.reload(unpriced)
        assert "stays as it was" in said
        assert "NOT READY: models.nobodys: its price is unknown" in said
        assert (await gateway.ask("nobodys")).status_code == 404
        await gateway.reload(text=nothing_new)
        twice = {"providers.main.base_url": provider.base_url + "/v1"}
        assert "names the version twice" in await gateway.reload(twice)
        assert (await gateway.ask()).status_code == 200
        await gateway.reload(text=nothing_new)
        end = {"retirement": {"day": "2020-01-01"}}
        ended = {f"models.{name}.facts": end for name in ("dear", "middle", "cheap")}
        assert "NOT READY: no model can be routed" in await gateway.reload(ended)
        assert (await gateway.ask("p2l")).status_code == 200
        ended["models.cheap.facts"] = {}
        assert "was read again" in await gateway.reload(ended)


async def test_a_failing_provider_is_left_alone_by_the_new_rules(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    extra = "routing: {retries: 0, breaker: {consecutive_failures: 2, open_s: 60}}"
    async with running(provider, tmp_path, caplog, extra) as gateway:
        provider.script("up-dear", Behaviour(status=500))

        async def sent(n: int) -> int:
            """How many of n requests went out."""
            before = len(provider.chats)
            for _ in range(n):
                await gateway.ask()
            return len(provider.chats) - before

        assert await sent(5) == 2
        await gateway.reload({"routing.breaker.max_open_s": 0.001, "routing.breaker.open_s": 0.001})
        provider.script("up-dear", Behaviour())
        await asyncio.sleep(0.01)
        assert (await gateway.ask()).status_code == 200
        slow = {"consecutive_failures": 4, "open_s": 60, "max_open_s": 60}
        await gateway.reload({f"routing.breaker.{name}": value for name, value in slow.items()})
        provider.script("up-dear", Behaviour(status=500))
        assert await sent(9) == 4


async def test_what_was_learnt_is_kept(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = "the quick brown fox jumps over the lazy dog and goes on its way " * 20
    usage = {"prompt_tokens": 1100, "completion_tokens": 10, "total_tokens": 1110}
    provider.script("up-dear", Behaviour(usage=usage))
    async with running(provider, tmp_path, caplog) as gateway:
        messages = [{"role": "user", "content": words}]
        for _ in range(5):
            assert (await gateway.ask(messages=messages)).status_code == 200

        def known() -> tuple[object, ...]:
            planner = gateway.state.gateway.planner
            return (
                planner.learned.input_tokens(planner.visible(ANYBODY), 1000, "anonymous"),
                planner.learned.cached_tokens("anonymous", {"messages": messages}),
                planner.latencies.of(streamed=False),
            )

        before = known()
        assert all(before)
        await gateway.reload({"routing.retries": 3})
        assert known() == before


async def test_sessions_go_on(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture, counting: str
) -> None:
    async with running(provider, tmp_path, caplog, counting) as gateway:
        kept = []
        for change in ({}, {"routing.retries": 3}, {"routing.sessions.ttl_s": 60}):
            await gateway.reload(change)
            answer = await gateway.ask("p2l", p2l={"session": "job"})
            kept.append(answer.headers["x-p2l-kept"])
        assert kept == ["new", "draw", "draw"]
        await gateway.reload({"routing.sessions.enabled": False})
        assert "x-p2l-kept" not in (await gateway.ask("p2l", p2l={"session": "job"})).headers


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def counting(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return ""
    server: RedisServer = request.getfixturevalue("redis")
    return f"redis: {{url: '{server.url}', prefix: 'reload-{tmp_path.name}'}}\n"


# 0.002 USD each
PAID = Behaviour(usage={"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200})


async def statuses(gateway: Running, n: int) -> list[int]:
    found = [(await gateway.ask(max_tokens=110)).status_code for _ in range(n)]
    windows: Any = gateway.state.gateway.accounts._windows
    for task in list(getattr(windows, "_tasks", ())):
        await task
    return found


@pytest.mark.parametrize("per", ["global", "key"])
async def test_a_window_taken_out_and_put_back_knows_what_was_spent(
    provider: FakeProvider,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    counting: str,
    per: str,
) -> None:
    provider.script("up-dear", PAID)
    windows = [{"amount_usd": 0.0075, "window_s": 3600, "per": per}]
    async with running(provider, tmp_path, caplog, counting) as gateway:
        await gateway.reload({"routing.window_budgets": windows})
        assert await statuses(gateway, 1) == [200]
        await gateway.reload({"routing.window_budgets": []})
        assert await statuses(gateway, 2) == [200, 200]
        await gateway.reload({"routing.window_budgets": windows})
        assert await statuses(gateway, 1) == [429], "0.006 of 0.0075 USD are spent"
        # another amount, the same window
        larger = [windows[0] | {"amount_usd": 0.0095}]
        await gateway.reload({"routing.window_budgets": larger})
        assert await statuses(gateway, 2) == [200, 429]


@pytest.mark.slow
async def test_a_window_knows_what_was_spent_while_no_process_had_it(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture, counting: str
) -> None:
    provider.script("up-dear", PAID)
    windows = "routing: {window_budgets: [{amount_usd: 0.0075, window_s: 3600}]}\n"
    for extra, expected in ((windows, [200]), ("", [200, 200]), (windows, [429])):
        async with running(provider, tmp_path, caplog, counting + extra) as gateway:
            assert await statuses(gateway, len(expected)) == expected


async def test_a_request_that_was_under_way_counts_in_a_window_that_came_meanwhile(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture, counting: str
) -> None:
    windows = [{"amount_usd": 0.0055, "window_s": 3600}]
    async with running(provider, tmp_path, caplog, counting) as gateway:
        slow = Behaviour(first_delay_s=0.8, usage=PAID.usage)
        provider.script("up-dear", slow, PAID)
        under_way = asyncio.create_task(gateway.ask(max_tokens=110))
        while not provider.chats:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await gateway.reload({"routing.window_budgets": windows})
        assert await statuses(gateway, 1) == [200]
        assert (await under_way).status_code == 200
        assert await statuses(gateway, 1) == [429]


@pytest.mark.slow
async def test_another_checkpoint_in_the_same_folder_is_taken(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    async with running(provider, tmp_path, caplog) as gateway:
        await gateway.reload({"scorer": {"checkpoint": str(folder)}})
        first = gateway.state.gateway.planner.scorer
        assert "nothing in it has changed" in await gateway.reload()
        assert gateway.state.gateway.planner.scorer is first
        shutil.rmtree(folder)
        write_checkpoint(folder, PreferenceFamily.BT)
        assert "the contents of scorer.checkpoint" in await gateway.reload()
        marginal = gateway.state.gateway.planner.scorer.marginal
        assert marginal is not None
        assert marginal.family is PreferenceFamily.BT


async def test_one_of_several_workers_takes_no_window_that_only_it_would_count(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(provider, tmp_path, caplog) as gateway:
        gateway.reloader.check = check_shared
        assert "set redis.url" in await gateway.reload({"routing.window_budgets": WINDOWS})
        assert gateway.state.settings.routing.window_budgets == []
