"""What the app holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from server.auth.authenticator import Authenticator
from server.config.settings import Settings
from server.gateway.gateway import Gateway
from server.http.keepalive import KEEPALIVE_S
from server.process.background import Background, HasBackground, JobState
from server.storage.store import Store
from server.telemetry.observer import Observer


@dataclass(slots=True)
class State:
    """What the app holds: nothing of it is global. keepalive_s: the longest silence of a stream
    that its caller is let sit through."""

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

    @property
    def jobs(self) -> list[JobState]:
        """The work in the background, that of the scorer in force too."""
        scorer = self.gateway.planner.scorer
        own = scorer.background.states() if isinstance(scorer, HasBackground) else []
        return [*self.background.states(), *own]

    def replace(self, settings: Settings, gateway: Gateway, authenticator: Authenticator) -> None:
        """For requests from now on; those under way hold on to what they began with."""
        self.settings, self.gateway, self.authenticator = settings, gateway, authenticator
