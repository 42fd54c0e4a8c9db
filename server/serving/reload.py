"""A new configuration for a running gateway. What is under way ends by the old one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from p2l_model.engine.scorer import Scorer
from p2l_model.errors import P2LError
from server.app import build_gateway
from server.auth import Authenticator, MissingKeyError
from server.build import build_scorer, build_upstreams, settings_from
from server.catalogue import build_catalogue
from server.closing import Closing
from server.config_file import ConfigError
from server.endpoints.common import State
from server.gateway import Gateway
from server.guard import kind_and_place
from server.objectives import check_objectives
from server.settings import Settings

_LOG = logging.getLogger("p2l_router")
# Sections that a running process does not change.
_FIXED = ("storage", "redis", "limits", "telemetry")
_POLL_S = 0.2


@dataclass
class Reloader:
    """config: the path of the file; None: the default configuration, by the environment."""

    state: State
    config: str | None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _retiring: set[asyncio.Task[None]] = field(default_factory=set)

    async def __call__(self) -> None:
        """Reads the file again. Where it cannot be used, says why and changes nothing."""
        try:
            settings = settings_from(self.config, self.environ)
            await self._apply(settings)
        except (ConfigError, MissingKeyError, P2LError) as error:
            _LOG.error("the configuration stays as it was: %s", error)
            return
        except Exception as error:
            # nobody waits for this task: its failure would be silence
            _LOG.error("the configuration stays as it was: %s", kind_and_place(error))
            return
        _LOG.warning("the configuration was read again")

    async def _apply(self, settings: Settings) -> None:
        old = self.state.settings
        for section in _FIXED:
            if getattr(settings, section) != getattr(old, section):
                _LOG.warning("a change of %s needs a restart; the rest is taken over", section)
        settings = settings.model_copy(update={name: getattr(old, name) for name in _FIXED})
        authenticator = Authenticator.from_settings(settings.auth, self.environ)
        authenticator.with_stored_of(self.state.authenticator)
        if self.state.authenticator.is_open != authenticator.is_open:
            raise ConfigError("auth.keys: the first key, or none any more, needs a restart")
        catalogue = build_catalogue(settings)
        await asyncio.to_thread(check_objectives, settings, catalogue, self.environ)
        upstreams = build_upstreams(settings, catalogue, self.environ)
        old_gateway = self.state.gateway
        scorer = old_scorer = old_gateway.planner.scorer
        if settings.scorer != old.scorer:
            scorer = await asyncio.to_thread(build_scorer, settings.scorer)
            await scorer.start()
        gateway = build_gateway(
            settings,
            scorer,
            upstreams,
            catalogue,
            self.state.store,
            self.state.observer,
            old_gateway,
        )
        # once more: a key may have been revoked since, and this was awaited
        authenticator.with_stored_of(self.state.authenticator)
        self.state.replace(settings, gateway, authenticator)
        replaced = None if scorer is old_scorer else old_scorer
        task = asyncio.create_task(_retire(old_gateway, replaced))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


async def _retire(gateway: Gateway, scorer: Scorer | None) -> None:
    """Closes what is no longer used, once nobody uses it."""
    while gateway.under_way > 0:  # noqa: ASYNC110 - rare, and nothing waits for it
        await asyncio.sleep(_POLL_S)
    async with Closing() as closing:
        if scorer is not None:
            closing.at_the_end("scorer", scorer.close)
        closing.at_the_end("providers", gateway.close)
