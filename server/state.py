"""The state that all endpoints of the application share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from server.auth.authenticator import Authenticator
from server.config.settings import Settings
from server.gateway.gateway import Gateway
from server.http.joining import Joining
from server.http.keepalive import KEEPALIVE_S
from server.process.background import Background, HasBackground, JobState
from server.shadow.shadow import Shadow
from server.storage.store import Store
from server.telemetry.observer import Observer


@dataclass(slots=True)
class State:
    """The state that all endpoints share; there is no global state. keepalive_s: the longest time
    in seconds for which a stream may stay silent. shadow: chooses requests for a second answer."""

    settings: Settings
    gateway: Gateway
    authenticator: Authenticator
    store: Store
    observer: Observer
    created: int
    ready: bool = False
    background: Background = field(default_factory=Background)
    reading_keys: asyncio.Lock = field(default_factory=asyncio.Lock)
    keepalive_s: float = KEEPALIVE_S
    joining: Joining = field(default_factory=Joining)
    shadow: Shadow | None = None

    @property
    def jobs(self) -> list[JobState]:
        """All background work, including that of the current scorer."""
        scorer = self.gateway.planner.scorer
        own = scorer.background.states() if isinstance(scorer, HasBackground) else []
        return [*self.background.states(), *own]

    def replace(self, settings: Settings, gateway: Gateway, authenticator: Authenticator) -> None:
        """Replaces the gateway for new requests; those in progress keep the one they began with."""
        self.settings, self.gateway, self.authenticator = settings, gateway, authenticator
