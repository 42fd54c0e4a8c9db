"""Applies a new configuration to a running gateway. Requests in progress end under the old one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from p2l_model.engine.scorer import Scorer
from p2l_model.errors import P2LError
from router.catalog import ModelCard
from server.alerts.sending import target_of
from server.app import build_gateway
from server.auth.authenticator import Authenticator, MissingKeyError
from server.build import build_scorer, build_upstreams, settings_from
from server.catalogue.cards import build_catalogue
from server.config.file import ConfigError
from server.config.settings import Settings
from server.config.settings.changes import changed, keeping
from server.gateway.gateway import Gateway
from server.gateway.receipt import checkpoint_version
from server.process.bugs import kind_and_place
from server.process.closing import Closing
from server.readiness import readiness
from server.readiness.objectives import check_objectives
from server.state import State

_LOG = logging.getLogger("p2l_router")
# Settings that a running process cannot change, since something was opened, bound or connected with
# them. All others are applied (a test goes through every one of them).
NEEDS_RESTART: Final = frozenset(
    {
        "limits.drain_s",
        "limits.header_timeout_s",
        "limits.max_connections",
        "limits.max_header_bytes",
        "limits.write_timeout_s",
        "redis.prefix",
        "redis.url",
        "redis.url_env",
        "storage.password_env",
        "storage.spool_dir",
        "storage.url",
        "storage.url_env",
        "telemetry.otlp_endpoint",
    }
)
_POLL_S = 0.2
# A log line names at most this many settings.
_MOST_NAMED: Final = 50


@dataclass
class Reloader:
    """Reloads the configuration. config: the path of the file; None: the default configuration, by
    the environment. check: raises ConfigError for settings with which this process could not have
    been started."""

    state: State
    config: str | None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    check: Callable[[Settings], None] = lambda _: None
    _retiring: set[asyncio.Task[None]] = field(default_factory=set)
    _checkpoint: str | None = None

    def __post_init__(self) -> None:
        self._checkpoint = checkpoint_version(self.state.settings.scorer)

    async def __call__(self) -> None:
        """Reads the file again. Where it cannot be used, logs the reason and changes nothing."""
        try:
            wanted = settings_from(self.config, self.environ)
            self.check(wanted)
            await self._apply(wanted)
        except (ConfigError, MissingKeyError, P2LError) as error:
            _LOG.error("the configuration stays as it was: %s", error)
        except Exception as error:
            # Nobody awaits this task: without a log line its failure would go unnoticed.
            _LOG.error("the configuration stays as it was: %s", kind_and_place(error))

    async def _apply(self, wanted: Settings) -> None:
        old = self.state.settings
        settings = keeping(wanted, old, NEEDS_RESTART)
        authenticator = Authenticator.from_settings(settings.auth, self.environ)
        authenticator.with_stored_of(self.state.authenticator)
        if self.state.authenticator.is_open != authenticator.is_open:
            raise ConfigError(
                "auth.keys: the first key, or none removing the last, needs a restart"
            )
        checkpoint = await asyncio.to_thread(checkpoint_version, settings.scorer)
        has_new_scorer = settings.scorer != old.scorer or checkpoint != self._checkpoint
        replaced = self.state.gateway
        gateway = await self._built(settings, replaced, with_new_scorer=has_new_scorer)
        # Once more: a key may have been revoked during the await.
        authenticator.with_stored_of(self.state.authenticator)
        self.state.replace(settings, gateway, authenticator)
        self._checkpoint = checkpoint
        self._spawn(_retire(replaced, replaced.planner.scorer if has_new_scorer else None))
        names = [*changed(old, settings)]
        if has_new_scorer and settings.scorer == old.scorer:
            names.append("the contents of scorer.checkpoint")
        for name in changed(settings, wanted):
            _LOG.warning("a change of %s needs a restart; all other changes are in force", name)
        _LOG.warning("the configuration was read again: %s", _told(names))

    async def _built(
        self, settings: Settings, previous: Gateway, *, with_new_scorer: bool
    ) -> Gateway:
        """Builds the gateway that replaces the previous one. Where that fails, nothing of it
        remains."""
        catalogue = build_catalogue(settings)
        await asyncio.to_thread(check_objectives, settings, catalogue, self.environ)
        target_of(settings.alerts, self.environ)
        upstreams = build_upstreams(settings, catalogue, self.environ)
        scorer = previous.planner.scorer
        state = self.state
        try:
            if with_new_scorer:
                scorer = await asyncio.to_thread(build_scorer, settings.scorer)
                await scorer.start()
            await asyncio.to_thread(self._check_ready, settings, catalogue, scorer)
            return build_gateway(
                settings, scorer, upstreams, catalogue, state.store, state.observer, previous
            )
        except BaseException:
            for upstream in upstreams.values():
                await upstream.close()
            if scorer is not previous.planner.scorer:
                await scorer.close()
            raise

    def _check_ready(
        self, settings: Settings, catalogue: Sequence[ModelCard], scorer: Scorer
    ) -> None:
        """Raises ConfigError, which names what requests would fail by although they do not fail
        now."""
        old, columns_now = self.state.settings, self.state.gateway.planner.scorer.models
        if not scorer.models:
            return  # no model service has answered yet: requests will tell
        now = readiness(old, build_catalogue(old), columns_now).problems if columns_now else ()
        problems = readiness(settings, catalogue, scorer.models).problems
        added = [problem for problem in problems if problem not in now]
        if added:
            raise ConfigError(f"with the new one it would be NOT READY: {'; '.join(added)}")

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


def _told(names: Sequence[str]) -> str:
    if not names:
        return "nothing in it has changed"
    shown = ", ".join(names[:_MOST_NAMED])
    return f"changed: {shown}" + (", and more" if len(names) > _MOST_NAMED else "")


async def _retire(gateway: Gateway, scorer: Scorer | None) -> None:
    """Closes the previous gateway's parts once nobody uses them."""
    while gateway.under_way > 0:  # noqa: ASYNC110 - rare, and nothing waits for it
        await asyncio.sleep(_POLL_S)
    async with Closing() as closing:
        if scorer is not None:
            closing.at_the_end("scorer", scorer.close)
        closing.at_the_end("providers", gateway.close)
